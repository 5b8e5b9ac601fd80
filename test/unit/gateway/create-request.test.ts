import { describe, expect, test } from "vitest";
import { planCreate } from "../../../docker/gateway/src/backends/msb/create-plan";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { ServiceError } from "../../../docker/gateway/src/errors";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { type CreateBody, createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { validatorCompiler } from "../../../docker/gateway/src/http/validate";
import { newBody, oldBody } from "./harness";

const check = validatorCompiler({ schema: createBody, method: "POST", url: "/", httpPart: "body" });
/** As the route does it. */
function read(body: object) {
  const { value, error } = check(body) as { value: CreateBody; error?: Error };
  if (error) throw error;
  return readCreateRequest(value);
}
const egress = egressPolicy.parse({});
const plan = (body: object, msbVersion = "0.7.11") => planCreate(read(body).spec, { msbVersion, egress });
const refusal = (body: object) => {
  try {
    read(body);
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error("was not refused");
};
const dollar = "$";

describe("normal form", () => {
  test("both generations end in the same", () => {
    const { network: _a, ...young } = read(newBody("a")).spec;
    const { network: _b, ...old } = read(oldBody("a")).spec;
    expect(old).toEqual(young);
  });

  test("null and absent mean the default", () => {
    const { spec } = read({ name: "a", reference: "starter" });
    expect(spec).toMatchObject({ resources: { vcpus: 1, memory_mib: 512 }, pull_policy: "if_missing" });
  });

  test.each([
    ["a bind mount", { mounts: [{ type: "bind", host: "/etc", guest: "/x" }] }, "mounts[0]"],
    ["a disk image", { mounts: [{ type: "disk_image", host: "/a.raw", guest: "/x" }] }, "mounts[0]"],
    ["a copied file", { patches: [{ type: "copy_file", src: "/etc/shadow", dst: "/h" }] }, "patches[0]"],
    ["a copied folder", { patches: [{ type: "copy_dir", src: "/etc", dst: "/h" }] }, "patches[0]"],
    ["a bind root", { source: undefined, image: { type: "bind", path: "/" } }, "image"],
    ["a bind root in the new shape", { source: "bind", path: "/" }, "source"],
    ["an image that looks like a path", { reference: "/etc" }, "reference"],
    ["an image that looks like an option", { reference: "--help" }, "reference"],
    [
      "a secret from the environment",
      secret({ source: { type: "env", var: "API_KEYS_FILE" } }),
      "the server's environment",
    ],
    ["a secret from a store", secret({ source: { type: "store", reference: "x" } }), "entries[0].source"],
    ["a secret without a value", secret({ allowed_hosts: [{ type: "any" }] }), "entries[0].value"],
    ["a secret for no host", secret({ value: "x" }), "entries[0].allowed_hosts"],
    ["published ports", { network: { ports: [{ host: 1, guest: 2 }] } }, "network.ports"],
    ["the host's certificates", { network: { trust_host_cas: true } }, "network.trust_host_cas"],
    ["stored credentials", { registry: { mode: "specific", credential_id: "x" } }, "registry"],
  ])("refuses %s", (_what, change, field) => {
    const error = refusal(newBody("a", change));
    expect(error.kind).toBe("invalidSpec");
    expect(error.message).toContain(field);
  });

  test.each(["-n", "", "a/b", "../a", "a b", "ä", `${"a".repeat(129)}`, ".a"])(
    "refuses the name %j",
    (name) => {
      expect(createBody.safeParse(newBody(name)).success).toBe(false);
    },
  );

  test("an empty secrets object is what clients send along with a policy", () => {
    expect(() => read(newBody("a", { network: { secrets: { entries: [] } } }))).not.toThrow();
  });
});

describe("plan", () => {
  test("every field arrives", () => {
    const { conf, args, scripts } = plan(
      newBody("a", {
        resources: { vcpus: 2, memory_mib: 1024, disk_size_mib: 2048 },
        runtime: {
          ...{ workdir: "/etc", shell: "/bin/sh", user: "root", log_level: "debug" },
          ...{ entrypoint: ["/e"], cmd: ["c"], scripts: { go: "#!/bin/sh\n" } },
        },
        env: [{ key: "A", value: "b" }],
        labels: { x: "y" },
        rlimits: [{ resource: "nofile", soft: 10, hard: 20 }],
        mounts: [
          { type: "named", name: "data", guest: "/d", options: { readonly: true } },
          { type: "tmpfs", guest: "/t", size_mib: 10 },
        ],
        patches: [
          { type: "text", path: "/a", content: "hi", mode: 0o644 },
          { type: "file", path: "/b", content: [0, 255], mode: null },
          { type: "symlink", target: "/a", link: "/l" },
          { type: "mkdir", path: "/m", mode: 0o755 },
          { type: "remove", path: "/r" },
          { type: "append", path: "/c", content: "x" },
        ],
        init: { cmd: "auto", args: ["a"], env: [["K", "V"]] },
        pull_policy: "never",
        security_profile: "restricted",
        lifecycle: { ephemeral: true, max_duration_secs: 300, idle_timeout_secs: 60 },
      }),
    );
    const mount = { noexec: false, nosuid: false, nodev: false };
    expect(JSON.parse(JSON.stringify(conf))).toEqual({
      image: { oci: "starter" },
      hostname: "a",
      ...{ pull_policy: "never", cpus: 2, memory: "1024M", max_duration: "300s", idle_timeout: "60s" },
      ...{ workdir: "/etc", shell: "/bin/sh", user: "root", security: "restricted" },
      ...{ entrypoint: ["/e"], cmd: ["c"], env: { A: "b" }, labels: { x: "y" } },
      rlimits: [{ resource: "nofile", soft: 10, hard: 20 }],
      init: { cmd: "auto", args: ["a"], env: { K: "V" } },
      mounts: [
        {
          ...{ named: "data", target: "/d", readonly: true, ...mount },
          ...{ stat_virtualization: "strict", host_permissions: "private" },
        },
        { tmpfs: { size: "10M" }, target: "/t", readonly: false, ...mount },
      ],
      patches: [
        { text: { path: "/a", content: "hi", mode: "0644", replace: false } },
        { file: { path: "/b", content_base64: "AP8=", replace: false } },
        { symlink: { target: "/a", link: "/l", replace: false } },
        { mkdir: { path: "/m", mode: "0755" } },
        { remove: { path: "/r" } },
        { append: { path: "/c", content: "x" } },
      ],
    });
    expect(withoutRules(args)).toEqual(["--root-disk", "2048M", "--log-level", "debug", "--net-strict=true"]);
    expect(scripts).toEqual({ go: "#!/bin/sh\n" });
  });

  test("msb's own references to its environment are made harmless", () => {
    const { conf, env } = plan(newBody("a", { env: [{ key: "A", value: `${dollar}{HOME} ${dollar}{` }] }));
    const harmless = `${dollar}{GATEWAY_DOLLAR}{`;
    expect(conf.env).toEqual({ A: `${harmless}HOME} ${harmless}` });
    expect(env.GATEWAY_DOLLAR).toBe("$");
  });

  test("secrets are in the configuration file, under msb's own names for what they may do", () => {
    const entries = [
      {
        ...{ env_var: "A", value: `${dollar}{HOME}`, placeholder: "p", require_tls_identity: false },
        allowed_hosts: [
          { type: "exact", value: "a.test" },
          { type: "wildcard", value: "*.b.test" },
        ],
        substitution: { headers: true, header_fields: ["X-A"], query: true, body: false },
        passthrough_hosts: [{ type: "exact", value: "c.test" }],
        violation_action: { type: "block_and_log" },
      },
      {
        ...{ env_var: "B", value: "two", allowed_hosts: [{ type: "any" }] },
        injection: { headers: false, basic_auth: false, query_params: true, body: true },
        on_violation: { type: "passthrough", hosts: [{ type: "wildcard", value: "*.d.test" }] },
      },
    ];
    const secrets = { entries, violation_action: { type: "block_and_terminate" } };
    const { conf, args } = plan(newBody("a", { network: { secrets } }));
    // msb 0.7.11 takes this as it is; a literal `${` would be read from the server's environment.
    expect(JSON.parse(JSON.stringify(conf.secrets))).toEqual({
      A: {
        ...{ value: `${dollar}{GATEWAY_DOLLAR}{HOME}`, placeholder: "p", require_tls_identity: false },
        ...{ allow: ["a.test", "*.b.test"], passthrough: ["c.test"], violation_action: "block_and_log" },
        substitution: { headers: true, header_fields: ["X-A"], query: true, body: false },
      },
      B: {
        ...{ value: "two", allow: ["*"], passthrough: ["*.d.test"], require_tls_identity: true },
        substitution: { headers: false, query: true, body: true },
      },
    });
    expect(withoutRules(args)).toEqual(["--secret-violation-action", "block-and-terminate"]);
  });

  test("secrets need msb 0.7", () => {
    const body = newBody("a", secret({ value: "x", allowed_hosts: [{ type: "any" }] }));
    expect(() => plan(body, "0.6.18")).toThrow(/network\.secrets: not supported by this server's/);
  });
});

describe("network", () => {
  const rules = (change: object, version?: string) => plan(newBody("a", { network: change }), version);
  const rule = (change: object) => ({
    policy: {
      default_egress: "deny",
      default_ingress: "allow",
      rules: [
        { direction: "egress", destination: "any", protocols: [], ports: [], action: "allow", ...change },
      ],
    },
  });

  test.each([
    [{ destination: "any" }, "allow:egress@any:any"],
    [{ destination: { domain: "example.com" }, protocols: ["tcp"] }, "allow:egress@domain=example.com:tcp"],
    [{ destination: { domain_suffix: "example.com" }, action: "deny" }, "deny:egress@suffix=example.com:any"],
    [{ destination: { cidr: "10.0.0.0/8" }, direction: "any" }, "allow:any@10.0.0.0/8:any"],
    [{ destination: { cidr: "fd00::/8" }, direction: "ingress" }, "allow:ingress@[fd00::/8]:any"],
    [{ destination: { group: "link_local" } }, "allow:egress@link-local:any"],
    [{ destination: { group: "metadata" } }, "allow:egress@meta:any"],
    [{ ports: [{ start: 80, end: 80 }] }, "allow:egress@any:any:80"],
    [
      {
        protocols: ["tcp", "udp"],
        ports: [
          { start: 1, end: 5 },
          { start: 9, end: 9 },
        ],
      },
      "allow:egress@any:tcp:1-5,allow:egress@any:tcp:9,allow:egress@any:udp:1-5,allow:egress@any:udp:9",
    ],
  ])("rule %#", (change, tokens) => {
    const { args } = rules(rule(change));
    expect(args.slice(0, 4)).toEqual(["--net-default-egress", "deny", "--net-default-ingress", "allow"]);
    // Behind the server's own: egress.test.ts looks at those.
    expect(args.slice(-2)).toEqual(["--net-rule", tokens]);
  });

  test.each([{ enabled: false }, { policy: { default_egress: "deny", default_ingress: "deny", rules: [] } }])(
    "no network: %j",
    (network) => {
      const { conf, args } = rules(network);
      expect([conf.network, args]).toEqual(["none", []]);
    },
  );

  test("a domain can't smuggle in another rule", () => {
    const smuggled = rule({ destination: { domain: "a.com,allow@any" } });
    expect(createBody.safeParse(newBody("a", { network: smuggled })).success).toBe(false);
  });

  test.each([
    [{ strict: true, max_connections: 5 }, "0.7.11", ["--max-connections", "5", "--net-strict=true"]],
    [
      { strict: false, max_udp_connections: 4 },
      "0.7.11",
      ["--net-strict=false", "--max-udp-connections", "4"],
    ],
    [{ strict: true }, "0.6.18", ["--net-strict"]],
    [{ strict: false }, "0.6.18", []],
  ])("limits %j for msb %s", (network, version, expected) => {
    expect(withoutRules(rules(network, version).args)).toEqual(expected);
  });
});

/** The flags that aren't the policy's. */
function withoutRules(args: string[]): string[] {
  return args.filter((_arg, index) => ![args[index], args[index - 1]].some(isPolicyFlag));
}

const isPolicyFlag = (arg = "") => /^--net-(rule|default-\w+)$/.test(arg);

function secret(entry: object) {
  return { network: { secrets: { entries: [{ env_var: "A", ...entry }] } } };
}
