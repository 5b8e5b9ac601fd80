import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { Microsandbox } from "../../../../components/microsandbox";
import { healthyHost, type Registered, registered, stateOf } from "../../../harness/pulumi-mocks";

const run = (args: MicrosandboxArgs, imageGone = false, before: Registered[] = []) =>
  registered(() => new Microsandbox("sandboxes", args), {
    ...healthyHost,
    imageGone,
    state: stateOf(before),
  });
const triggersOf = (resources: Registered[]): unknown[] =>
  resources.find(({ name }) => name.endsWith("-image-load"))?.inputs.triggers;

const ssh = { host: "ssh://root@a.test" };
const ways: [string, MicrosandboxArgs][] = [
  ["sent", ssh],
  ["through a registry", { ...ssh, registry: "registry.test/team" }],
  ["prebuilt", { ...ssh, serverImage: `registry.test/team/server@sha256:${"a".repeat(64)}` }],
];

describe("an image that is gone from its host", () => {
  it.each(ways)("is brought there again, each time: %s", async (_way, args) => {
    const first = await run(args);
    const reference = triggersOf(first);
    expect(reference).toHaveLength(1);
    const again = await run(args, true, first);
    expect(triggersOf(again)).toEqual([...reference, "1"]);
    expect(triggersOf(await run(args, true, again))).toEqual([...reference, "2"]);
    // Nothing runs once more where it is there, whether it has ever been gone or not.
    expect(triggersOf(await run(args, false, first))).toEqual(reference);
    expect(triggersOf(await run(args, false, again))).toEqual([...reference, "1"]);
  });

  it("is of no matter where another one comes", async () => {
    const first = await run(ssh);
    const other = await run({ ...ssh, version: "0.6.18" }, true, first);
    expect(triggersOf(other)).toHaveLength(1);
    expect(triggersOf(other)).not.toEqual(triggersOf(first));
  });
});
