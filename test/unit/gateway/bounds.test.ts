import { existsSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planCreate } from "../../../docker/gateway/src/backends/msb/create-plan";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import {
  KEPT_BYTES,
  keptSpec,
  payloadOf,
  storedSpec,
  wholeSpec,
} from "../../../docker/gateway/src/sandboxes/payload";
import { newBody, TestGateway } from "./harness";

type Change = Record<string, unknown>;
const letters = (count: number) => "x".repeat(count);
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_each, index) => make(index));
const rule = (change: object) => ({
  ...{ direction: "egress", destination: "any", protocols: [], ports: [], action: "allow" },
  ...change,
});
const rules = (...list: object[]) => ({ network: { policy: { rules: list } } });
const secret = (change: object) => ({
  network: {
    secrets: { entries: [{ env_var: "A", value: "v", allowed_hosts: [{ type: "any" }], ...change }] },
  },
});
const label = (count: number) => times(count, (index) => [`l${index}`, "x"] as const);
const hosts = (count: number) => times(count, (index) => ({ type: "exact", value: `h${index}.test` }));
const mount = (index: number) => ({ type: "tmpfs", guest: `/t${index}` });
const PROTOCOLS = ["tcp", "udp", "icmpv4", "icmpv6"];
// biome-ignore format: one list
const RESOURCES = ["cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"];

/** Each bound: the field's name, the greatest size, and what is sent and has to reach msb for a size. */
const bounds: [field: string, max: number, change: (size: number) => Change][] = [
  ["reference", 512, (size) => ({ reference: letters(size) })],
  ["labels", 128, (size) => ({ labels: Object.fromEntries(label(size)) })],
  ["labels", 16 * 1024, (size) => ({ labels: { ...Object.fromEntries(times(4, (at) => [`l${at}`, letters(4000)])), k: letters(size - 4 * 4002 - 1) } })],
  ["labels.k", 4096, (size) => ({ labels: { k: letters(size) } })],
  ["labels", 256, (size) => ({ labels: { [letters(size)]: "v" } })],
  ["env", 1024, (size) => ({ env: times(size, (at) => ({ key: `E${at}`, value: "v" })) })],
  ["env[0].key", 1024, (size) => ({ env: [{ key: letters(size), value: "v" }] })],
  ["rlimits", RESOURCES.length, (size) => ({ rlimits: times(size, (at) => ({ resource: RESOURCES[at] ?? "cpu", soft: at, hard: at })) })],
  ["runtime.scripts", 64, (size) => ({ runtime: { scripts: Object.fromEntries(times(size, (at) => [`s${at}`, `body ${at}`])) } })],
  ["runtime.scripts.s", 1024 * 1024, (size) => ({ runtime: { scripts: { s: letters(size) } } })],
  ["runtime.scripts", 128, (size) => ({ runtime: { scripts: { [letters(size)]: "body" } } })],
  ["runtime.entrypoint", 1024, (size) => ({ runtime: { entrypoint: times(size, (at) => `e${at}`) } })],
  ["runtime.cmd", 1024, (size) => ({ runtime: { cmd: times(size, (at) => `c${at}`) } })],
  ["runtime.workdir", 4096, (size) => ({ runtime: { workdir: `/${letters(size - 1)}` } })],
  ["runtime.shell", 4096, (size) => ({ runtime: { shell: letters(size) } })],
  ["runtime.user", 256, (size) => ({ runtime: { user: letters(size) } })],
  ["runtime.hostname", 253, (size) => ({ runtime: { hostname: letters(size) } })],
  ["init.args", 1024, (size) => ({ init: { cmd: "auto", args: times(size, (at) => `a${at}`) } })],
  ["init.env", 1024, (size) => ({ init: { cmd: "auto", env: times(size, (at) => [`e${at}`, "v"]) } })],
  ["mounts", 64, (size) => ({ mounts: times(size, mount) })],
  ["mounts[0].guest", 4096, (size) => ({ mounts: [{ type: "tmpfs", guest: `/${letters(size - 1)}` }] })],
  ["patches", 1024, (size) => ({ patches: times(size, (at) => ({ type: "mkdir", path: `/p${at}` })) })],
  ["patches[0].content", 1024 * 1024, (size) => ({ patches: [{ type: "text", path: "/p", content: letters(size) }] })],
  ["network.policy.rules", 512, (size) => rules(...times(size, (at) => rule({ destination: { cidr: `1.${at >> 8}.${at & 255}.0/24` } })))],
  ["network.policy.rules[0].ports", 64, (size) => rules(rule({ protocols: PROTOCOLS, ports: times(size, (at) => ({ start: at + 1, end: at + 1 })) }))],
  ["network.policy.rules[0].protocols", 4, (size) => rules(rule({ protocols: times(size, (at) => PROTOCOLS[at % 4]) }))],
  ["network.policy.rules[0].destination", 253, (size) => rules(rule({ destination: { domain: letters(size) } }))],
  ["network.secrets.entries", 64, (size) => ({ network: { secrets: { entries: times(size, (at) => ({ env_var: `A${at}`, value: "v", allowed_hosts: [{ type: "any" }] })) } } })],
  ["network.secrets.entries[0].value", 64 * 1024, (size) => secret({ value: letters(size) })],
  ["network.secrets.entries[0].placeholder", 1024, (size) => secret({ placeholder: letters(size) })],
  ["network.secrets.entries[0].allowed_hosts", 64, (size) => secret({ allowed_hosts: hosts(size) })],
  ["network.secrets.entries[0].passthrough_hosts", 64, (size) => secret({ passthrough_hosts: hosts(size) })],
]; // biome-ignore format: one line each

/** Just below, by chance. */
const below = (max: number) =>
  max - (fc.sample(fc.integer({ min: 1, max: Math.min(20, max - 1) }), 1)[0] ?? 1);

/** All texts and numbers of a value. */
function atoms(value: unknown): (string | number)[] {
  if (typeof value === "string" || typeof value === "number") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => [
    ...(Array.isArray(value) ? [] : [key]),
    ...atoms(each),
  ]);
}

/** The names of the fields that msb's configuration has under others, or as flags. */
const RENAMED =
  /^(network|policy|rules|direction|destination|cidr|domain|protocols|ports|start|end|action|reference|labels|runtime|scripts|type|guest|key|value|secrets|entries|env_var|allowed_hosts|passthrough_hosts|exact|any|env|tmpfs|mkdir|text|size_mib)$/;

const egress = egressPolicy.parse({});

describe("at a bound all of it reaches msb, above it nothing is made", async () => {
  const gateway = await TestGateway.start({ LIMIT_REQUESTS_PER_SECOND: "100000" });
  const wasSpawned = () => existsSync(join(gateway.home, "fake", "calls.log"));
  let made = 0;

  test.each(bounds)("%s, %i", async (field, max, change) => {
    for (const size of [below(max), max]) {
      const body = newBody(`at-${made++}`, change(size));
      const answer = await gateway.request("POST", "/v1/sandboxes", { body });
      expect([answer.status, answer.body.error?.message]).toEqual([200, undefined]);
      const { spec } = readCreateRequest(createBody.parse(body));
      const plan = planCreate(spec, { msbVersion: "0.7.11", egress });
      const got = new Set(atoms(JSON.parse(JSON.stringify(plan))).map(String));
      const words = plan.args.join("\n");
      const lost = atoms(change(size))
        .map(String)
        .filter((atom) => !RENAMED.test(atom) && !got.has(atom) && !words.includes(atom));
      expect(lost).toEqual([]);
    }
    for (const size of [max + 1, max + 1 + Math.floor(max / 2)]) {
      const body = newBody(`above-${made++}`, change(size));
      const answer = await gateway.request("POST", "/v1/sandboxes?start=true", { body });
      expect([answer.status, answer.body.error?.code]).toEqual([400, "invalid_sandbox_config"]);
      expect(answer.body.error.message.startsWith(field)).toBe(true);
      expect(answer.body.error.message.length).toBeLessThan(2_000);
    }
    expect(wasSpawned()).toBe(false);
    expect((await gateway.get("/healthz")).status).toBe(200);
  });
});

describe("what is kept of a sandbox", async () => {
  const gateway = await TestGateway.start();
  const read = (change: Change) => readCreateRequest(createBody.parse(newBody("a", change))).spec;
  const keptBytes = (change: Change) => Buffer.byteLength(JSON.stringify(keptSpec(read(change))));

  test("is its size as JSON at most, escapes and all, in whichever field it is", async () => {
    const room = KEPT_BYTES - keptBytes({});
    const changes: [string, (size: number) => Change, each: number][] = [
      ["env", (size) => ({ env: [{ key: "A", value: letters(size) }] }), 1],
      ["env", (size) => ({ env: [{ key: "A", value: "\u0001".repeat(size) }] }), 6],
      ["runtime.cmd", (size) => ({ runtime: { cmd: ["sh", "é".repeat(size)] } }), 2],
      ["init", (size) => ({ init: { cmd: "auto", args: [letters(size)] } }), 1],
    ];
    for (const [field, change, each] of changes) {
      const size = Math.floor((room - (keptBytes(change(1)) - keptBytes({}) - each)) / each);
      expect(keptBytes(change(size))).toBeLessThanOrEqual(KEPT_BYTES);
      const answer = await gateway.create("above", change(size + 1), "start=true");
      expect([answer.status, answer.body.error.code]).toEqual([400, "invalid_sandbox_config"]);
      expect(answer.body.error.message).toMatch(new RegExp(`^${field}: .*${KEPT_BYTES} is the most$`));
    }
  });

  test("is in answers, and its payload is not", async () => {
    const payload = {
      runtime: { scripts: { go: "a-script" }, workdir: "/w" },
      patches: [
        { type: "text", path: "/p", content: "a-patch" },
        { type: "file", path: "/f", content: [...Buffer.from("a-file")] },
      ],
      network: {
        secrets: { entries: [{ env_var: "S", value: "a-secret", allowed_hosts: [{ type: "any" }] }] },
      },
    };
    const created = await gateway.create("small", payload, "start=false");
    const answers = [
      created,
      await gateway.get("/v1/sandboxes/by-name/small"),
      await gateway.get("/v1/sandboxes"),
    ];
    for (const answer of answers) {
      const text = JSON.stringify(answer.body);
      expect(text).toContain('"workdir":"/w"');
      for (const secret of ["a-script", "a-patch", Buffer.from("a-file").toString("base64"), "a-secret"])
        expect(text).not.toContain(secret);
    }
    // It waits for the first start.
    expect((await gateway.post("/v1/sandboxes/by-name/small/start?wait_for=running")).status).toBe(200);
    const conf = JSON.stringify(gateway.made("small")?.conf);
    for (const part of ["a-patch", Buffer.from("a-file").toString("base64"), "a-secret"])
      expect(conf).toContain(part);
    expect(gateway.scripts()).toContain("a-script");
  });

  test("and its payload are the whole, and survive a file", () => {
    for (const [, max, change] of bounds) {
      const spec = read(change(max));
      expect(wholeSpec(keptSpec(spec), payloadOf(spec))).toEqual(spec);
      const [kept, payload] = JSON.parse(JSON.stringify([keptSpec(spec), payloadOf(spec)]));
      const plan = (whole: typeof spec) =>
        JSON.stringify(planCreate(whole, { msbVersion: "0.7.11", egress }));
      expect(plan(wholeSpec(storedSpec.parse(kept), payload))).toBe(plan(spec));
    }
  });

  test("is read whatever an older version let be kept", () => {
    const old = {
      ...read({ patches: [{ type: "mkdir", path: "/a" }] }),
      env: [{ key: "A", value: letters(KEPT_BYTES * 2) }],
      patches: [{ type: "file", path: "/f", content: [1, 2, 3], replace: false }],
      unheard_of: { nested: true },
    };
    const spec = storedSpec.parse(JSON.parse(JSON.stringify(old)));
    expect(spec.env).toEqual(old.env);
    expect(spec.patches).toEqual([{ type: "file", path: "/f", content: "AQID", replace: false }]);
    expect(storedSpec.safeParse({ name: "a" }).success).toBe(false);
  });
});

describe("protocols times ports", async () => {
  const gateway = await TestGateway.start();

  test("of the issue's body are refused at once", async () => {
    const ports = times(6_000, (at) => ({ start: at, end: at }));
    const body = { network: { policy: { rules: [rule({ protocols: times(6_000, () => "tcp"), ports })] } } };
    const began = performance.now();
    const answer = await gateway.create("a", body, "start=true");
    expect(answer.status).toBe(400);
    expect(performance.now() - began).toBeLessThan(200);
  });

  test("are bounded together, with the server's own grants too", async () => {
    const each = { protocols: PROTOCOLS, destination: { domain: letters(253) } };
    const ports = (count: number) => times(count, (at) => ({ start: at * 3 + 10_000, end: at * 3 + 10_001 }));
    const many = await gateway.create("a", rules(...times(20, () => rule({ ...each, ports: ports(64) }))));
    expect([many.status, many.body.error.code]).toEqual([400, "invalid_sandbox_config"]);
    expect(many.body.error.message).toMatch(/^network\.policy\.rules: .*524288/);
    const fewer = await gateway.create("b", rules(...times(5, () => rule({ ...each, ports: ports(64) }))));
    expect(fewer.status).toBe(200);
    expect(gateway.calls().split(`:icmpv6:10189-10190`).length - 1).toBe(5);

    const grant = {
      destination: { cidr: "10.0.0.0/8" },
      ports: times(120, (at) => ({ start: at * 9, end: 65_535 })),
    };
    const granting = await TestGateway.start({ EGRESS: JSON.stringify({ grants: [grant] }) });
    const product = rules(rule({ protocols: PROTOCOLS, ports: ports(64) }));
    const refused = await granting.create("a", product);
    expect(refused.body.error?.message).toMatch(/^network\.policy\.rules: .*131071/);
    expect(refused.status).toBe(400);
  });
});
