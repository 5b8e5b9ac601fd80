import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { healthyHost } from "../../../harness/pulumi-mocks";
import { build, deploy, only } from "../deployed";

describe("the image's name", () => {
  const name = async (args: MicrosandboxArgs) => only(await deploy(args), "RemoteImage").name;

  it("is another one where any argument of the build is: a host is not sent what it has a name for", async () => {
    const names: string[] = [];
    for (const args of [
      {},
      { debianVersion: "13.1" },
      { registryPrefix: "mirror.test/" },
      { version: "0.7.9", versionSha256: { amd64: "a".repeat(64) } },
      { version: "0.7.9", versionSha256: { amd64: "b".repeat(64) } },
    ])
      names.push(await name(args));
    expect(new Set(names).size).toBe(names.length);
    expect(names[0]).toMatch(/^microsandbox-sandboxes-dev:0\.7\.11-amd64-[0-9a-f]{12}$/);
  });

  it("and the build are the same on a deployer that trusts other authorities", async () => {
    const { buildArgs, secrets } = build(await deploy({}));
    expect(Object.keys(buildArgs).sort()).toEqual([
      "DEBIAN_VERSION",
      "MICROSANDBOX_VERSION",
      "REGISTRY_PREFIX",
    ]);
    expect(secrets).toBeUndefined();
  });

  it("is the same where the build is", async () => {
    expect(await name({ hostPort: 5556 })).toBe(await name({}));
  });
});

describe("an image that another deployer has built again", () => {
  it.each<[string, MicrosandboxArgs]>([
    ["sent", { host: "ssh://me@host.test" }],
    ["through a registry", { host: "ssh://me@host.test", registry: "registry.test/team" }],
    ["to an emulated host", { host: "emulated" }],
  ])("changes nothing on the host: %s", async (_way, args) => {
    const builtAs = (imageId: string) => deploy(args, { ...healthyHost, imageId });
    const [one, other] = [await builtAs("sha256:one"), await builtAs("sha256:other")];
    expect(one.map(({ name }) => name)).toContain("sandboxes-image-load");
    expect(other).toEqual(one);
  });

  it("loses its name in the engine that built it unless a container is made of it", async () => {
    const resources = await deploy({});
    expect(only(resources, "RemoteImage")).toMatchObject({ keepLocally: true, name: expect.any(String) });
    const { delete: removal } = only(resources, "Command", "image-removal");
    expect(removal).toBe(`docker image rm ${only(resources, "RemoteImage").name} || true`);
  });

  it("is removed from the host unless a container is made of it", async () => {
    const load = only(await deploy({ host: "ssh://me@host.test" }), "Command", "image-load");
    expect(load.delete).toMatch(/docker image rm microsandbox-sandboxes-dev:/);
  });
});
