import { describe, expect, it } from "vitest";
import { testCertificate } from "../../harness/certificate";
import type { Registered } from "../../harness/pulumi-mocks";
import { type Case, deploy, only } from "./deployed";

/** What the script hands to the server; Pulumi wraps it in an object because it is a secret. */
function registrySettings(resources: Registered[]) {
  const { stdin } = only(resources, "Command", "registries-settings");
  return JSON.parse(/<<'SETTINGS'\n(.*)\nSETTINGS/.exec(stdin.value)?.[1] ?? "");
}

describe("every setting of images, registries and the host reaches its resource", () => {
  const cases: Case[] = [
    [
      "images",
      { images: ["alpine:3.22"] },
      (r) => only(r, "Command", "alpine:3.22").stdin,
      expect.stringMatching(/^image=alpine:3\.22\n.* msb pull "\$image" \|\| \{\n/),
    ],
    [
      "11: images, again where the container is another",
      { images: ["alpine:3.22"] },
      (r) => only(r, "Command", "alpine:3.22").triggers.slice(1),
      ["sandboxes-server-container-id"],
    ],
    [
      "images, told to the server, which keeps them",
      { images: ["alpine:3.22"] },
      (r) => only(r, "Command", "images-list").stdin,
      expect.stringMatching(/images\.json.* <<'END OF FILE'\n\["alpine:3\.22"\]\nEND OF FILE\n$/),
    ],
    [
      "images under a mirror",
      { images: ["alpine:3.22"], registries: { mirrors: { "docker.io": "mirror.test/hub/" } } },
      (r) => only(r, "Command", "alpine:3.22").stdin,
      expect.stringMatching(
        /^image="\$\(docker exec \S+ node \S+ mirrored alpine:3\.22\)"\n.* msb pull "\$image" \|\| \{\n/,
      ),
    ],
    [
      "registries.mirrors",
      { registries: { mirrors: { "docker.io": "mirror.test/hub/" } } },
      (r) => registrySettings(r).mirrors,
      { "docker.io": "mirror.test/hub/" },
    ],
    [
      "registries.plainHttp",
      { registries: { plainHttp: ["localhost:5000"] } },
      (r) => registrySettings(r).plainHttp,
      ["localhost:5000"],
    ],
    [
      "registries.allowed",
      { registries: { allowed: ["*.example.com"] } },
      (r) => registrySettings(r).allowed,
      ["*.example.com"],
    ],
    [
      "registries.certificates",
      { registries: { certificates: testCertificate } },
      (r) => registrySettings(r).certificates,
      testCertificate,
    ],
    [
      "registries.logins",
      { registries: { logins: { "ghcr.io": { username: "bot", password: "it's secret" } } } },
      (r) => registrySettings(r).logins,
      { "ghcr.io": { username: "bot", password: "it's secret" } },
    ],
    [
      "registries, again where the container is another",
      { registries: { allowed: ["*"] } },
      (r) => only(r, "Command", "registries-settings").stdin.value,
      expect.stringContaining("sandboxes-server-container-id"),
    ],
    ["no registries, no command", {}, (r) => r.filter(({ name }) => name.includes("registries")), []],
    [
      "kvmCheck boot",
      { kvmCheck: "boot" },
      (r) => only(r, "Command", "boot-guest").stdin,
      expect.stringContaining("msb run starter"),
    ],
    [
      "host over ssh",
      { host: "ssh://me@host.test:2200" },
      (r) => r.find(({ name }) => name.endsWith("-host-engine"))?.inputs.host,
      "ssh://me@host.test:2200",
    ],
    [
      "registry",
      { registry: "registry.test/team" },
      (r) => only(r, "Command", "image-push").stdin.value,
      expect.stringContaining("LIST=registry.test/team/microsandbox-dev:0.7.11-"),
    ],
    [
      "registry, on a host",
      { host: "ssh://me@host.test", registry: "registry.test/team" },
      (r) => only(r, "Command", "image-load").stdin.value,
      expect.stringMatching(/docker pull .*"\$SOURCE"/),
    ],
    [
      "registryUser and registryPassword",
      { registry: "registry.test", registryUser: "me", registryPassword: "s3cret" },
      (r) => only(r, "Command", "image-push").stdin.value,
      expect.stringMatching(/REGISTRY=registry\.test\n[\s\S]*\nREGISTRY_USER=me\nREGISTRY_PASSWORD=s3cret\n/),
    ],
    [
      "no registry: the image is sent",
      { host: "ssh://me@host.test" },
      (r) => only(r, "Command", "image-load").stdin,
      expect.stringMatching(/LOADER='.*docker load/),
    ],
    [
      "sshKeyFile",
      { host: "ssh://me@host.test", sshKeyFile: "/keys/id" },
      (r) => String(r.find(({ name }) => name.endsWith("-host-engine"))?.inputs.sshOpts),
      expect.stringContaining(JSON.stringify(`IdentityFile="/keys/id"`)),
    ],
    [
      "bindAddress of an emulated host",
      { host: "emulated", bindAddress: "127.0.0.3" },
      (r) => only(r, "Command", "machine").environment.SERVER_ADDRESS,
      "127.0.0.3",
    ],
    [
      "emulatedMemory",
      { host: "emulated", emulatedMemory: "8G" },
      (r) => only(r, "Command", "machine").environment.MEMORY_MIB,
      "8192",
    ],
    [
      "emulatedDisk",
      { host: "emulated", emulatedDisk: "30G" },
      (r) => only(r, "Command", "machine").environment.DISK_GIB,
      "30",
    ],
    [
      "architecture of an emulated host",
      { host: "emulated", architecture: "arm64" },
      (r) => only(r, "Command", "machine").create,
      expect.stringContaining("--architecture arm64"),
    ],
    [
      "the emulated host's generation",
      { host: "emulated" },
      (r) => only(r, "Command", "machine").environment.GENERATION,
      "3",
    ],
    [
      "the emulated host's port",
      { host: "emulated", hostPort: 6001 },
      (r) => only(r, "Command", "machine").environment.SERVER_PORT,
      "6001",
    ],
    [
      "volumes.keep on an emulated host",
      { host: "emulated", volumes: { keep: false } },
      (r) => only(r, "Command", "machine").delete,
      expect.not.stringContaining("--keep-disk"),
    ],
  ];
  it.each(cases)("%s", async (_name, args, read, expected) => {
    expect(read(await deploy(args))).toEqual(expected);
  });
});
