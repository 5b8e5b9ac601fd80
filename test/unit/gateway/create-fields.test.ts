import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { planCreate } from "../../../docker/gateway/src/backends/msb/create-plan";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { restoreArguments } from "../../../docker/gateway/src/backends/msb/restore-plan";
import { ServiceError } from "../../../docker/gateway/src/errors";
import { calledSnapshot, readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { type CreateBody, createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { validatorCompiler } from "../../../docker/gateway/src/http/validate";
import type { Snapshot } from "../../../docker/gateway/src/sandboxes/snapshots";

/**
 * Every field of the create body, found in its schema, reaches msb or is refused: it is changed in a body that
 * has all of them, and the plan has to change with it. A new field fails here until a body below holds it.
 */

const host = (value: string) => ({ type: "exact", value });
const options = { readonly: true, noexec: true, nosuid: true, nodev: true };
const owner = { override_uid: 1, override_gid: 1 };

/** Together they hold every field that has an effect. */
const bodies = [
  {
    ...{ name: "all", slug: "all-of-it", source: "oci", reference: "starter", pull_policy: "always" },
    resources: { vcpus: 2, memory_mib: 256, disk_size_mib: 512 },
    runtime: {
      ...{ workdir: "/w", shell: "/bin/sh", scripts: { go: "x" }, entrypoint: ["/e"], cmd: ["c"] },
      ...{ user: "me", log_level: "info", hostname: "h" },
    },
    env: [{ key: "A", value: "b" }],
    labels: { a: "b" },
    rlimits: [{ resource: "nofile", soft: 1, hard: 2 }],
    mounts: [
      {
        type: "named",
        name: "data",
        guest: "/d",
        options: { ...options, ...owner },
        stat_virtualization: "off",
        host_permissions: "mirror",
      },
      { type: "tmpfs", guest: "/t", size_mib: 8, options },
    ],
    patches: [
      { type: "text", path: "/a", content: "x", mode: 1, replace: true },
      { type: "file", path: "/a", content: [1], mode: 1, replace: true },
      { type: "symlink", target: "/a", link: "/l", replace: true },
      { type: "mkdir", path: "/m", mode: 1 },
      { type: "remove", path: "/r" },
      { type: "append", path: "/a", content: "x" },
    ],
    network: {
      ...{ enabled: true, strict: false, max_connections: 4, max_udp_connections: 4 },
      policy: {
        ...{ default_egress: "deny", default_ingress: "deny" },
        rules: [
          { cidr: "10.0.0.0/8" },
          { domain: "a.test" },
          { domain_suffix: "a.test" },
          { group: "public" },
          "any",
        ].map((destination) => ({
          ...{ direction: "egress", destination, action: "allow" },
          ...{ protocols: ["tcp"], ports: [{ start: 1, end: 9 }] },
        })),
      },
      secrets: {
        violation_action: { type: "block" },
        entries: [
          {
            ...{ env_var: "S", value: "v", placeholder: "p", require_tls_identity: false },
            allowed_hosts: [host("a.test"), { type: "wildcard", value: "*.a.test" }],
            passthrough_hosts: [host("b.test"), { type: "wildcard", value: "*.b.test" }],
            substitution: { headers: true, header_fields: ["X-A"], query: true, body: true },
            violation_action: {
              type: "passthrough",
              hosts: [host("c.test"), { type: "wildcard", value: "*.c.test" }],
            },
          },
        ],
      },
    },
    init: { cmd: "auto", args: ["a"], env: [["a", "b"]] },
    security_profile: "restricted",
    lifecycle: { ephemeral: true, max_duration_secs: 9, idle_timeout_secs: 9 },
    registry: { mode: "inline", username: "u", password: "p" },
  },
  {
    ...{ name: "old", image: { type: "oci", reference: "starter" } },
    network: {
      max_tcp_connections: 4,
      secrets: {
        on_violation: { type: "block" },
        passthrough_hosts: [host("d.test"), { type: "wildcard", value: "*.d.test" }],
        entries: [
          { env_var: "T", value: "v", allowed_hosts: [host("a.test")] },
          {
            ...{ env_var: "S", value: "v", allowed_hosts: [host("a.test")] },
            injection: { headers: true, basic_auth: true, query_params: false, body: false },
            on_violation: {
              type: "passthrough",
              hosts: [host("c.test"), { type: "wildcard", value: "*.c.test" }],
            },
          },
        ],
      },
    },
  },
  { name: "short", image: "starter" },
];

/** Fields that no body can hold beside the others: what is sent, and whether it is refused. */
const special: Record<string, [change: object, refused: boolean]> = {
  "disk_snapshot_ref<managed>.id": [
    { reference: undefined, source: "disk_snapshot", disk_snapshot_ref: { type: "managed", id: "x" } },
    false,
  ],
  "image<bind>": [{ reference: undefined, image: { type: "bind", path: "/" } }, true],
  "image<disk_image>": [{ reference: undefined, image: { type: "disk_image", path: "/" } }, true],
  "mounts[]<bind>": [{ mounts: [{ type: "bind", host: "/a", guest: "/b" }] }, true],
  "mounts[]<disk_image>": [{ mounts: [{ type: "disk_image", host: "/a", guest: "/b" }] }, true],
  "mounts[]<owned>": [{ mounts: [{ type: "owned", guest: "/b" }] }, true],
  "patches[]<copy_file>": [{ patches: [{ type: "copy_file", src: "/a", dst: "/b" }] }, true],
  "patches[]<copy_dir>": [{ patches: [{ type: "copy_dir", src: "/a", dst: "/b" }] }, true],
  "registry<specific>": [{ registry: { mode: "specific" } }, true],
  "registry<anonymous>": [{ registry: { mode: "anonymous" } }, false],
  "network.secrets.entries[].source.type": [
    { network: { secrets: { entries: [{ env_var: "A", source: { type: "env", var: "PATH" } }] } } },
    true,
  ],
  "network.secrets.violation_action.hosts[]<any>": [
    { network: { secrets: { entries: [], violation_action: { type: "passthrough", hosts: [] } } } },
    true,
  ],
};
for (const id of ["override_uid", "override_gid"])
  special[`mounts[]<tmpfs>.options.${id}`] = [
    { mounts: [{ type: "tmpfs", guest: "/t", options: { [id]: 0 } }] },
    true,
  ];
for (const list of ["allowed_hosts", "passthrough_hosts"])
  special[`network.secrets.entries[].${list}[]<any>`] = [
    {
      network: {
        secrets: {
          entries: [{ env_var: "A", value: "b", allowed_hosts: [host("a")], [list]: [{ type: "any" }] }],
        },
      },
    },
    false,
  ];

/** The same in another place, or the default by another name. */
const same = [
  /^registry<auto>$/,
  // Hosts without a list of their own: passthrough for all secrets is refused.
  /^network\.secrets\.(violation_action|on_violation)\.hosts/,
  /^network\.secrets\.passthrough_hosts\[\]<any>$/,
  /^network\.secrets\.entries\[\]\.(violation_action|on_violation)\.hosts\[\]<any>$/,
];

type Schema = z.core.JSONSchema._JSONSchema & object;
type Leaf = { path: string; schema: Schema };

/** The fields of a schema that hold no fields themselves; of a choice of objects, each by the word that tells them. */
function leaves(schema: Schema, path = ""): Leaf[] {
  const choices = (schema.anyOf ?? schema.oneOf)?.filter(isSchema).filter(({ type }) => type !== "null");
  if (choices) return choices.flatMap((choice) => leaves(choice, `${path}${nameOf(choice)}`));
  const properties = Object.entries(schema.properties ?? {}).filter(
    (entry): entry is [string, Schema] => isSchema(entry[1]) && entry[1].const === undefined,
  );
  if (properties.length > 0)
    return properties.flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));
  const { items } = schema;
  if (isSchema(items) && !Array.isArray(items) && (items.properties || items.oneOf))
    return leaves(items, `${path}[]`);
  return [{ path, schema }];
}

const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null;

function nameOf({ properties }: Schema): string {
  const tag = Object.values(properties ?? {}).find((inner) => isSchema(inner) && inner.const !== undefined);
  return isSchema(tag) ? `<${String(tag.const)}>` : "";
}

/** Another value of the same kind. */
function another(value: unknown, schema: Schema): unknown {
  if (schema.enum) return schema.enum.find((each) => each !== value && each !== "passthrough");
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value + 1;
  if (typeof value === "string") return value === "10.0.0.0/8" ? "10.0.0.0/9" : `${value}x`;
  if (Array.isArray(value)) return [...value, Array.isArray(value[0]) ? ["x", "y"] : value[0]];
  return { ...(value as object), another: "x" };
}

/** Of a choice of kinds, only the one that the value is. */
function isOf(value: unknown, { type }: Schema): boolean {
  if (type === "integer") return typeof value === "number";
  return type === "array" ? Array.isArray(value) : typeof value === type;
}

/** The body with that field changed, once for each place where it has it. */
function changed(body: object, { path, schema }: Leaf): object[] {
  const words = path.split(/\.|(?=\[\])|(?=<)/);
  const change = (value: unknown, [word, ...rest]: string[]): unknown[] => {
    if (word === undefined) return isOf(value, schema) ? [another(value, schema)] : [];
    if (word === "[]")
      return Array.isArray(value)
        ? value.flatMap((each, at) => change(each, rest).map((other) => value.with(at, other)))
        : [];
    if (word.startsWith("<"))
      return isSchema(value) && Object.values(value).includes(word.slice(1, -1)) ? change(value, rest) : [];
    if (!isSchema(value) || !Object.hasOwn(value, word)) return [];
    return change((value as Record<string, unknown>)[word], rest).map((other) => ({
      ...value,
      [word]: other,
    }));
  };
  return change(body, words) as object[];
}

const egress = egressPolicy.parse({});

const check = validatorCompiler({ schema: createBody, method: "POST", url: "/", httpPart: "body" });

const snapshotOf = (called: string): Snapshot => ({
  ...{
    id: `id of ${called}`,
    name: called,
    owner: null,
    labels: {},
    sandboxId: "",
    digest: "",
    sizeBytes: 0,
  },
  ...{ createdAt: "", manifest: { image: { ref: "starter" } } as Snapshot["manifest"] },
});

/** Everything that a body makes msb or the gateway do, or its refusal. */
function effect(body: object): string {
  try {
    const { value, error } = check(body) as { value: CreateBody; error?: Error };
    if (error) throw error;
    const called = calledSnapshot(value);
    const named = called === undefined ? undefined : snapshotOf(called);
    const { spec, slug, login, anonymous, snapshot } = readCreateRequest(value, named);
    const plan = snapshot
      ? restoreArguments(spec, { egress })
      : planCreate(spec, { msbVersion: "0.7.11", egress });
    return JSON.stringify([
      plan,
      slug,
      login,
      anonymous,
      snapshot,
      spec.pull_policy,
      spec.name,
      spec.lifecycle.ephemeral,
    ]);
  } catch (error) {
    if (error instanceof ServiceError) return `refused: ${error.message}`;
    throw error;
  }
}

/**
 * Fields of the wider API (msb 0.7.13's own specification of a sandbox, and what clouds took before), none of which
 * is this server's: at their places, each with a value that is not its default.
 */
const unsupported: Record<string, unknown> = {
  nested_virt: true,
  "resources.nested_virt": true,
  "resources.max_cpus": 4,
  "resources.max_memory_mib": 1024,
  "resources.cpu_placement": { numa: "strict" },
  "resources.placement_profile": "fast",
  "resources.thp": "always",
  "runtime.metrics_sample_interval_ms": 1000,
  "runtime.disable_metrics_sample": true,
  "runtime.guest_clock": "off",
  vsock: { routes: [{ port: 1 }] },
  deployment_profile: "multi_tenant",
  path: "/srv",
  format: "raw",
  fstype: "ext4",
  replace: true,
  insecure: true,
  ca_certs: ["x"],
  from_snapshot: "x",
  "network.interface": { mtu: 1400 },
  "network.ports": [{ host: 1, guest: 2 }],
  "network.dns": { nameservers: ["1.1.1.1"] },
  "network.tls": { enabled: true },
  "network.max_inbound_tcp_connections": 4,
  "network.tcp_accept_queue_size": 4,
  "network.rate_limiter": { ingress: { bytes: 1 } },
  "network.rate_limits": { egress: 1 },
  "network.nat64_prefixes": ["64:ff9b::/96"],
  "network.trust_host_cas": true,
  "network.http": { deny_response: { status: 403 } },
  "network.outbound_proxy": { type: "socks5", host: "x" },
  "lifecycle.auto_remove": true,
  "network.secrets.reveal": true,
  "network.policy.log": true,
};

/** The body with a field set at a path; `[]` in it stands for the first of a list. */
function withField(body: object, path: string, value: unknown): object {
  const copy = structuredClone(body) as Record<string, unknown>;
  const words = path.split(".");
  let at = copy;
  for (const word of words.slice(0, -1)) {
    at[word] ??= {};
    at = at[word] as Record<string, unknown>;
  }
  at[words.at(-1) ?? ""] = value;
  return copy;
}

/** Every object of a body, with where it is. */
function objects(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value).flatMap(([key, each]) =>
    objects(each, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return Array.isArray(value) ? inner : [path, ...inner];
}

/** Their keys are the client's own. */
const OPEN = [/^labels$/, /^runtime\.scripts$/];

describe("what the server has no answer to", () => {
  test.each(Object.entries(unsupported))("%s is refused by name", (path, value) => {
    const plain = { name: "a", reference: "starter" };
    expect(effect(withField(plain, path, value))).toMatch(
      new RegExp(`^refused: ${path.replaceAll(".", "\\.")}: not supported`),
    );
    // Not set is as good as absent.
    for (const unset of [null, false, "", [], {}])
      expect(effect(withField(plain, path, unset))).toBe(effect(withField(plain, path, undefined)));
  });

  test("a field that nobody knows, anywhere, is refused if it is set", () => {
    const set = fc.oneof(
      fc.constant(true),
      fc.integer(),
      fc.string({ minLength: 1 }),
      fc.array(fc.integer(), { minLength: 1 }),
      fc.dictionary(fc.string(), fc.integer(), { minKeys: 1 }),
    );
    const place = fc
      .constantFrom(...bodies)
      .chain((body) => fc.constantFrom(...objects(body).map((path) => [body, path] as const)));
    fc.assert(
      fc.property(place, fc.stringMatching(/^x_[a-z]{1,20}$/), set, ([body, path], key, value) => {
        if (OPEN.some((pattern) => pattern.test(path.join(".")))) return;
        const copy = structuredClone(body);
        const at = path.reduce<Record<string, unknown>>(
          (inner, word) => inner[word] as Record<string, unknown>,
          copy as Record<string, unknown>,
        );
        at[key] = value;
        expect(effect(copy)).toMatch(/^refused: /);
      }),
      { numRuns: 500 },
    );
  });
});

const schema = z.toJSONSchema(createBody, { io: "input", unrepresentable: "any" });
const all = leaves(schema as Schema);

describe("every field of the create body", () => {
  test("is found, and the bodies are accepted as they are", () => {
    expect(all.length).toBeGreaterThan(90);
    for (const body of bodies) expect(effect(body)).not.toMatch(/^refused/);
    expect(Object.keys(special).filter((path) => !all.some((leaf) => leaf.path === path))).toEqual([]);
  });

  test.each(all)("$path", (leaf) => {
    const { path } = leaf;
    const known = special[path];
    if (known) {
      const [change, refused] = known;
      const plain = { name: "a", reference: "starter" };
      expect(effect({ ...plain, ...change }).startsWith("refused: "), "refused").toBe(refused);
      expect(effect({ ...plain, ...change })).not.toBe(effect(plain));
      return;
    }
    if (same.some((pattern) => pattern.test(path))) return;
    const effects = bodies.flatMap((body) =>
      changed(body, leaf).map((other) => [effect(body), effect(other)]),
    );
    expect(effects.length, "no body above holds it").toBeGreaterThan(0);
    for (const [before, after] of effects) expect(after).not.toBe(before);
  });
});
