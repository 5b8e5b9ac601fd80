import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../components/args";
import { Microsandbox } from "../../../components/microsandbox";
import { healthyHost, type Registered, registered, stateOf } from "../../harness/pulumi-mocks";

const ssh = { host: "ssh://root@host.test" };
const login = { registry: "registry.test/team", registryUser: "me" };
const source = `registry.test/team/server@sha256:${"a".repeat(64)}`;

const run = (args: MicrosandboxArgs, before?: Registered[], imageId?: string) =>
  registered(
    () => new Microsandbox("sandboxes", args),
    { ...healthyHost, imageId, state: before && stateOf(before) },
    "dev",
    { preview: before !== undefined, before },
  );
const inputsOf = (resources: Registered[], end: string) =>
  resources.find(({ name }) => name.endsWith(end))?.inputs;

describe("a preview knows that the container stays where a command is only updated", () => {
  it.each<[string, MicrosandboxArgs, MicrosandboxArgs]>([
    ["the upgrade's, for another memory limit", {}, { memoryLimit: "3G" }],
    ["the upgrade's, for another limit of processes", ssh, { ...ssh, pidsLimit: 999 }],
    ["the one that sends the image, for another key file", ssh, { ...ssh, sshKeyFile: "/keys/other" }],
    [
      "those that push and pull the image, for another password",
      { ...ssh, ...login, registryPassword: "one" },
      { ...ssh, ...login, registryPassword: "two" },
    ],
    [
      "the one that pulls a prebuilt image, for another key file",
      { ...ssh, serverImage: source },
      { ...ssh, serverImage: source, sshKeyFile: "/keys/other" },
    ],
  ])("%s", async (_what, first, second) => {
    const before = await run(first);
    const after = await run(second, before);
    const image = inputsOf(before, "-server-container")?.image;
    expect(image).toMatch(/./);
    expect(inputsOf(after, "-server-container")?.image).toBe(image);
    expect(inputsOf(after, "-upgrade-trial")?.triggers).toEqual([image]);
    // It is an update, and not the same inputs by accident.
    expect(JSON.stringify(after)).not.toBe(JSON.stringify(before));
  });

  it.each<[string, MicrosandboxArgs, MicrosandboxArgs]>([
    ["another version", ssh, { ...ssh, version: "0.6.18" }],
    ["a prebuilt image", ssh, { ...ssh, serverImage: source }],
  ])("and that it does not: %s", async (_what, first, second) => {
    const after = await run(second, await run(first));
    expect(pulumi.isUnknown(inputsOf(after, "-server-container")?.image)).toBe(true);
  });

  it("and that it does not: another image on this machine", async () => {
    const after = await run({}, await run({}, undefined, "sha256:one"), "sha256:two");
    expect(pulumi.isUnknown(inputsOf(after, "-server-container")?.image)).toBe(true);
  });
});
