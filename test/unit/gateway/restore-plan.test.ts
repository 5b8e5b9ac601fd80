import fc from "fast-check";
import { expect, test } from "vitest";
import { planCreate } from "../../../docker/gateway/src/backends/msb/create-plan";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { restoreArguments } from "../../../docker/gateway/src/backends/msb/restore-plan";
import { sandboxSpec } from "../../../docker/gateway/src/sandboxes/spec";
import { restoreBody, START, TestGateway } from "./harness";

const action = fc.constantFrom("allow", "deny");
const range = fc
  .tuple(fc.nat(65_535), fc.nat(65_535))
  .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }));
const to = fc.oneof(
  fc.constant("any"),
  fc.constantFrom("public", "private", "host", "metadata", "link_local").map((group) => ({ group })),
  fc.constantFrom("10.0.0.0/8", "10.1.2.0/24", "0.0.0.0/0", "fd00::/8").map((cidr) => ({ cidr })),
  fc.constantFrom("example.com", "a.example").map((domain) => ({ domain })),
);
const rule = fc.record({
  direction: fc.constantFrom("egress", "ingress", "any"),
  destination: to,
  protocols: fc.subarray(["tcp", "udp"]),
  ports: fc.array(range, { maxLength: 2 }),
  action,
});
const network = fc.record({
  enabled: fc.boolean(),
  policy: fc.option(
    fc.record({ default_egress: action, default_ingress: action, rules: fc.array(rule, { maxLength: 5 }) }),
  ),
});
const limit = fc
  .record({
    level: fc.constantFrom("none", "public", "all"),
    grants: fc.array(fc.record({ destination: to, ports: fc.array(range, { maxLength: 1 }) }), {
      maxLength: 2,
    }),
    hostRanges: fc.subarray(["203.0.113.0/24", "2001:db8::/32"]),
  })
  .map((given) => egressPolicy.parse(given));

/** The values of a flag, whether after it or behind an equals sign. */
const valuesOf = (args: string[], flag: string): string[] =>
  args.flatMap((arg, at) =>
    arg === flag ? [args[at + 1] ?? ""] : arg.startsWith(`${flag}=`) ? [arg.slice(flag.length + 1)] : [],
  );

test("whatever a client asks for, and whatever is allowed: the rules are those of a create, in their order", () => {
  fc.assert(
    fc.property(network, limit, (given, egress) => {
      const spec = sandboxSpec.parse({ name: "a", reference: "starter", network: given });
      const { args: created, conf } = planCreate(spec, { msbVersion: "0.7.11", egress });
      const restored = restoreArguments(spec, { egress });
      const rules = valuesOf(created, "--net-rule");
      if (conf.network === "none") {
        expect(rules).toEqual([]);
        expect(restored.filter((arg) => arg.startsWith("--n"))).toEqual(["--no-net"]);
        return;
      }
      const [[out = ""], [into = ""]] = ["egress", "ingress"].map((way) =>
        valuesOf(created, `--net-default-${way}`),
      ) as [string[], string[]];
      // The first that matches counts: what is not said of a guest's own ports before is said at the end.
      const last = out === into ? [] : [`${into}:ingress@any`];
      expect(valuesOf(restored, "--net-default")).toEqual([out]);
      expect(valuesOf(restored, "--net-rule")).toEqual([...rules, ...last]);
      expect(restored).not.toContain("--no-net");
    }),
    { numRuns: 500 },
  );
});

test("a restore has no way to a registry, and a host whose addresses are not known makes none", async () => {
  const gateway = await TestGateway.start();
  const { id } = (await gateway.create("box")).body;
  await gateway.post("/v1/snapshots", { sandbox_id: id, name: "one" });
  const restore = (on: TestGateway, name: string) =>
    on.post(`/v1/sandboxes?${START}`, restoreBody(name, "one"));
  expect((await restore(gateway, "a")).body.status).toBe("running");
  const [, environment = ""] = gateway.calls().split(/^args: restore .*$/m);
  for (const variable of ["HTTP_PROXY", "HTTPS_PROXY"])
    expect(environment).toMatch(new RegExp(`${variable}=['"]?http://127\\.0\\.0\\.1:1['"]?$`, "m"));
  await gateway.close();
  const unknowing = await TestGateway.start({ HOST_RANGES_FILE: `${gateway.home}/none` }, gateway.home);
  expect((await restore(unknowing, "b")).status).toBe(503);
});

test("what was restored under a wider egress does not start under a narrower one", async () => {
  const gateway = await TestGateway.start({ EGRESS: '{"level":"all"}' });
  const { id } = (await gateway.create("box")).body;
  await gateway.post("/v1/snapshots", { sandbox_id: id, name: "one" });
  const { body } = await gateway.post(`/v1/sandboxes?${START}`, restoreBody("wide", "one"));
  await gateway.post(`/v1/sandboxes/${body.id}/stop`);
  await gateway.close();
  const narrow = await TestGateway.start({ EGRESS: '{"level":"none"}' }, gateway.home);
  expect((await narrow.post(`/v1/sandboxes/${body.id}/start?wait_for=running`)).status).toBe(409);
  // Its snapshot is another matter: what starts from it is made anew.
  const again = await narrow.post(`/v1/sandboxes?${START}`, restoreBody("closed", "one"));
  expect(again.body.status).toBe("running");
  expect(
    narrow
      .calls()
      .trim()
      .split("\n")
      .filter((line) => line.startsWith("args: "))
      .at(-1),
  ).toContain("--no-net");
});
