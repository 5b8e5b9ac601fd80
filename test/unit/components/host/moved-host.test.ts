import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { Microsandbox } from "../../../../components/microsandbox";
import { failing, healthyHost, type Registered, registered, stateOf } from "../../../harness/pulumi-mocks";

const volume = {
  ...{ kind: "volume", name: "microsandbox-sandboxes-dev-state", usedBy: [] },
  ...{ project: "microsandbox", stack: "dev", deployment: "sandboxes-deployment output" },
};
const program = (args: MicrosandboxArgs) => () => new Microsandbox("sandboxes", args);

/** Runs again with other args and what the first run has left: on a host with these objects. */
async function rerun(first: MicrosandboxArgs, second: MicrosandboxArgs, objects: object[] = []) {
  const before = await registered(program(first));
  const preflight = { ...healthyHost.preflight, objects };
  return failing(program(second), { ...healthyHost, preflight, state: stateOf(before) });
}
const onHost = (resources: Registered[]) =>
  resources.filter(({ type }) => /:(Container|Network|Volume|RemoteImage)$/.test(type));

const [a, b] = [{ host: "ssh://root@a.test" }, { host: "ssh://root@b.test" }];
const emulated = { host: "emulated" };

describe("a stack that is deployed on one host", () => {
  it.each<[string, MicrosandboxArgs, MicrosandboxArgs, string]>([
    ["this machine, then another", {}, a, "the host local, and host is ssh://root@a.test now"],
    ["another machine, then this one", a, {}, "the host ssh://root@a.test, and host is local now"],
    ["two machines", a, b, "the host ssh://root@a.test, and host is ssh://root@b.test now"],
    ["another port", a, { host: "ssh://root@a.test:2200" }, "ssh://root@a.test:2200 now"],
    ["this machine, then an emulated one", {}, emulated, "the host local, and host is emulated now"],
    ["an emulated one, then this machine", emulated, {}, "the host emulated, and host is local now"],
  ])("is not on another: %s", async (_what, first, second, expected) => {
    const { resources, errors } = await rerun(first, second);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(expected);
    expect(errors[0]).toMatch(/to leave it there: .* (local|emulated|ssh:\S+)\n/);
    expect(onHost(resources)).toEqual([]);
    expect(resources.filter(({ name }) => name.endsWith("-emulated-machine"))).toEqual([]);
  });

  it.each<[string, MicrosandboxArgs, MicrosandboxArgs, object[]?]>([
    ["the same", a, a],
    ["another user and key file", a, { host: "ssh://me@a.test", sshKeyFile: "/keys/other" }],
    ["another name of the same machine", a, b, [volume]],
    ["this machine over SSH", {}, a, [volume]],
    ["an emulated one again", emulated, emulated],
  ])("may be on it: %s", async (_what, first, second, objects) => {
    const { resources, errors } = await rerun(first, second, objects);
    expect(errors).toEqual([]);
    expect(onHost(resources)).toHaveLength(5);
  });

  it("is told how the state forgets a machine that the same program has replaced", async () => {
    const made = { host: pulumi.output(Promise.resolve("ssh://root@b.test")) };
    const { resources, errors } = await rerun(a, made);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(
      /the host ssh:\/\/root@a\.test, and this program has made the host ssh:\/\/root@b\.test/,
    );
    expect(errors[0]).toMatch(/pulumi state delete --yes --force --target-dependents 'URN'/);
    expect(errors[0]).not.toMatch(/set host as it was|the argument host/);
    expect(onHost(resources)).toEqual([]);
  });

  it("may be on another one once nothing of it is left", async () => {
    const before = (await registered(program(a))).filter(({ type }) => !type.startsWith("docker:"));
    const { errors } = await failing(program(b), { ...healthyHost, state: stateOf(before) });
    expect(errors).toEqual([]);
  });
});
