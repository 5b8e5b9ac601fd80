import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { MicrosandboxArgs } from "../../../components/args";
import { clientEnvironment, Microsandbox } from "../../../components/microsandbox";
import { endpointUrl } from "../../../components/settings/endpoint";
import { parseSettings } from "../../../components/settings/parse-settings";
import { testAuthority } from "../../harness/authority";
import { testCertificate } from "../../harness/certificate";
import { hashOf } from "../../harness/key-file";
import { type FakeHost, healthyHost, type Registered, registered } from "../../harness/pulumi-mocks";

const deploy = (args: MicrosandboxArgs, host = hostFor(args)) =>
  registered(() => new Microsandbox("sandboxes", args), host);

/** A healthy host of the processor that is asked for. */
function hostFor({ architecture }: MicrosandboxArgs): FakeHost {
  const preflight = healthyHost.preflight as { engine: Record<string, unknown> };
  const engine = { ...preflight.engine, ...(architecture === "arm64" ? { arch: "arm64" } : {}) };
  return { ...healthyHost, preflight: { ...preflight, engine } };
}

/** The inputs of the only resource of a type (the part after the last colon). */
function only(resources: Registered[], type: string, nameEnd = ""): Registered["inputs"] {
  const found = resources.filter((one) => one.type.endsWith(`:${type}`) && one.name.endsWith(nameEnd));
  expect(found.map(({ name }) => name)).toHaveLength(1);
  return found[0]?.inputs ?? {};
}

/** The production stack's own file. */
const productionFile = parse(readFileSync(join(__dirname, "../../../Pulumi.prod.yaml"), "utf8"));

it("the production stack's settings are accepted, and are the hardened ones", () => {
  const raw = Object.fromEntries(
    Object.entries(productionFile.config).map(([key, value]) => [key.replace("microsandbox:", ""), value]),
  );
  const settings = parseSettings(raw);
  expect(settings).toMatchObject({ production: true, privileged: false, devMode: false, kvmCheck: "boot" });
  expect(settings.volumes).toMatchObject({ keep: true, protect: true });
});

const container = (resources: Registered[]) => only(resources, "Container");
const egressOf = (resources: Registered[]) => {
  const line: string = container(resources).envs.find((each: string) => each.startsWith("EGRESS="));
  return JSON.parse(line.slice("EGRESS=".length));
};
const build = (resources: Registered[]) => only(resources, "RemoteImage").build;

/** What the script hands to the server; Pulumi wraps it in an object because it is a secret. */
function registrySettings(resources: Registered[]) {
  const { stdin } = only(resources, "Command", "registries-settings");
  return JSON.parse(/<<'SETTINGS'\n(.*)\nSETTINGS/.exec(stdin.value)?.[1] ?? "");
}

const issued = testAuthority().issue(["127.0.0.1"]);
const at = issued.indexOf("-----BEGIN CERTIFICATE");
const given = { key: issued.slice(0, at), certificate: issued.slice(at) };
const folder = mkdtempSync(join(tmpdir(), "microsandbox-given-"));
afterAll(() => rmSync(folder, { recursive: true }));
const files = { certificateFile: join(folder, "certificate"), keyFile: join(folder, "key") };
writeFileSync(files.certificateFile, given.certificate);
writeFileSync(files.keyFile, given.key);

describe("every setting reaches its resource", () => {
  const cases: [string, MicrosandboxArgs, (resources: Registered[]) => unknown, unknown][] = [
    ["version", { version: "0.6.18" }, (r) => build(r).buildArgs.MICROSANDBOX_VERSION, "0.6.18"],
    [
      "versionSha256",
      { version: "0.7.9", versionSha256: { amd64: "a".repeat(64), arm64: "b".repeat(64) } },
      (r) => build(r).buildArgs.MICROSANDBOX_SHA256,
      "a".repeat(64),
    ],
    ["debianVersion", { debianVersion: "13.1" }, (r) => build(r).buildArgs.DEBIAN_VERSION, "13.1"],
    [
      "registryPrefix",
      { registryPrefix: "mirror.test/" },
      (r) => build(r).buildArgs.REGISTRY_PREFIX,
      "mirror.test/",
    ],
    ["architecture", {}, (r) => build(r).platform, "linux/amd64"],
    [
      "autoPullImages",
      { autoPullImages: false },
      (r) => container(r).envs,
      expect.arrayContaining(["AUTO_PULL_IMAGES=false"]),
    ],
    [
      "devMode",
      { devMode: false, apiKey: "k".repeat(40) },
      (r) => container(r).envs,
      expect.arrayContaining(["DEV_MODE=false"]),
    ],
    [
      "apiKey",
      { devMode: false, apiKey: "k".repeat(40) },
      (r) => JSON.stringify(only(r, "Command", "key-file").stdin),
      expect.stringContaining(hashOf("k".repeat(40))),
    ],
    [
      "keys",
      { devMode: false, keys: [{ id: "ci", hash: `sha256:${hashOf("k")}`, limits: { sandboxes: 3 } }] },
      (r) => JSON.stringify(only(r, "Command", "key-file").stdin),
      expect.stringMatching(new RegExp(`ci.*${hashOf("k")}.*sandboxes.*3`)),
    ],
    [
      "isolateByKey",
      { devMode: false, apiKey: "k".repeat(40), isolateByKey: true },
      (r) => container(r).envs,
      expect.arrayContaining(["OWN_SANDBOXES=true"]),
    ],
    [
      "the host's name, for a server without keys",
      { host: "ssh://me@host.test:2200", exposeDevMode: true, bindAddress: "0.0.0.0" },
      (r) => container(r).envs,
      expect.arrayContaining(["HOST_NAMES=host.test"]),
    ],
    [
      "timezone",
      { timezone: "Europe/Berlin" },
      (r) => container(r).envs,
      expect.arrayContaining(["TZ=Europe/Berlin"]),
    ],
    [
      "tls.generate",
      { tls: { generate: true } },
      (r) => container(r).envs,
      expect.arrayContaining([expect.stringMatching(/^TLS_FILE=/)]),
    ],
    [
      "tls.generate: a health check without",
      { tls: { generate: true } },
      (r) => container(r).healthcheck.tests.at(-1),
      "http://127.0.0.1:5554/readyz",
    ],
    [
      "tls.names",
      { tls: { generate: true, names: ["sandboxes.example.com"] } },
      (r) => only(r, "Command", "tls-certificate").stdin.value,
      expect.stringContaining("NAMES=IP:127.0.0.1,DNS:localhost,DNS:sandboxes.example.com"),
    ],
    [
      "tls.certificate and tls.key",
      { tls: { certificate: given.certificate, key: given.key } },
      (r) => only(r, "Command", "tls-file").stdin.value,
      expect.stringContaining(given.certificate.trim()),
    ],
    [
      "tls.certificateFile and tls.keyFile",
      { tls: files },
      (r) => only(r, "Command", "tls-file").stdin.value,
      expect.stringContaining(given.certificate.trim()),
    ],
    ["egress", { egress: "none" }, (r) => egressOf(r).level, "none"],
    [
      "egressAllow",
      { egressAllow: ["10.1.0.0/16", "*.example.com:443"] },
      (r) => egressOf(r).grants,
      [
        { destination: { cidr: "10.1.0.0/16" }, ports: [] },
        { destination: { domain_suffix: "example.com" }, ports: [{ start: 443, end: 443 }] },
      ],
    ],
    ["port", { port: 8080 }, (r) => container(r).ports[0].internal, 8080],
    [
      "port in the health check",
      { port: 8080 },
      (r) => container(r).healthcheck.tests.at(-1),
      "http://127.0.0.1:8080/readyz",
    ],
    ["hostPort", { hostPort: 6000 }, (r) => container(r).ports[0].external, 6000],
    ["bindAddress", { bindAddress: "127.0.0.2" }, (r) => container(r).ports[0].ip, "127.0.0.2"],
    ["cpuLimit", { cpuLimit: 2.5 }, (r) => container(r).cpuQuota, 250_000],
    ["cpuLimit, whole", { cpuLimit: 2 }, (r) => container(r).cpuQuota, 200_000],
    ["cpuReservation", { cpuReservation: 0.5 }, (r) => container(r).cpuShares, 512],
    ["memoryLimit", { memoryLimit: "2G" }, (r) => container(r).memory, 2048],
    ["no swap", { memoryLimit: "2G" }, (r) => container(r).memorySwap, 2048],
    ["memoryReservation", { memoryReservation: "512M" }, (r) => container(r).memoryReservation, 512],
    ["privileged", {}, (r) => container(r).privileged, true],
    ["unprivileged", { privileged: false }, (r) => container(r).privileged, false],
    [
      "unprivileged: no capability",
      { privileged: false },
      (r) => container(r).capabilities,
      { drops: ["ALL"] },
    ],
    ["unprivileged: not root", { privileged: false }, (r) => container(r).user, "5555:5555"],
    ["unprivileged: the group of /dev/kvm", { privileged: false }, (r) => container(r).groupAdds, ["106"]],
    [
      "unprivileged: /dev/kvm alone",
      { privileged: false },
      (r) => container(r).devices,
      [{ hostPath: "/dev/kvm", containerPath: "/dev/kvm", permissions: "rw" }],
    ],
    [
      "unprivileged: the volumes' files",
      { privileged: false },
      (r) => only(r, "Command", "volumes-files").stdin,
      expect.stringMatching(/export OWNER=5555\n[\s\S]*chown -h/),
    ],
    ["unprivileged: read-only root", { privileged: false }, (r) => container(r).readOnly, true],
    ["unprivileged options", { privileged: false }, (r) => container(r).securityOpts, ["no-new-privileges"]],
    [
      "upgradeCopies",
      { upgradeCopies: 7 },
      (r) => only(r, "Command", "upgrade-done").stdin,
      expect.stringContaining("KEEP=7"),
    ],
    [
      "the server's privileges in the trial of an upgrade",
      { privileged: false },
      (r) => only(r, "Command", "upgrade-trial").stdin,
      expect.stringMatching(
        /RUN_FLAGS='--device \/dev\/kvm .*--security-opt no-new-privileges --cap-drop ALL --user 5555:5555 .*--read-only/,
      ),
    ],
    [
      "the server's environment in the trial of an upgrade",
      { autoPullImages: false },
      (r) => only(r, "Command", "upgrade-trial").stdin,
      expect.stringContaining("--env AUTO_PULL_IMAGES=false"),
    ],
    [
      "kvmCheck boot in the trial of an upgrade",
      { kvmCheck: "boot" },
      (r) => only(r, "Command", "upgrade-trial").stdin,
      expect.stringContaining("export BOOT=1"),
    ],
    ["logMaxSize", { logMaxSize: "20m" }, (r) => container(r).logOpts["max-size"], "20m"],
    ["logMaxFiles", { logMaxFiles: 5 }, (r) => container(r).logOpts["max-file"], "5"],
    [
      "stopTimeout of the server",
      { stopTimeout: 30 },
      (r) => container(r).envs,
      expect.arrayContaining(["STOP_TIMEOUT_SECONDS=30"]),
    ],
    ["stopTimeout of the container is longer", { stopTimeout: 30 }, (r) => container(r).stopTimeout, 45],
    [
      "pidsLimit",
      { pidsLimit: 1000 },
      (r) => only(r, "Command", "pids-limit").stdin,
      expect.stringContaining("--pids-limit 1000"),
    ],
    [
      "volumes.state",
      { volumes: { state: "my-state" } },
      (r) => container(r).volumes[0].volumeName,
      "my-state",
    ],
    [
      "volumes.workspace",
      { volumes: { workspace: "work" } },
      (r) => container(r).volumes[1].volumeName,
      "work",
    ],
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

describe("what the host is like", () => {
  const on = (change: object) => ({ ...healthyHost, preflight: { ...healthyHost.preflight, ...change } });

  it("8: the network's packets are as small as those of the engine's default network", async () => {
    expect(only(await deploy({}, on({ mtu: 1400 })), "Network").options).toEqual({
      "com.docker.network.driver.mtu": "1400",
    });
    expect(only(await deploy({}), "Network").options).toEqual({});
  });

  it("22: a limit of swap is asked for where the kernel has one", async () => {
    const args = { memoryLimit: "2G" };
    expect(container(await deploy(args, on({ swapLimit: false }))).memorySwap).toBe(-1);
    expect(container(await deploy(args)).memorySwap).toBe(2048);
  });

  it("gives the container TUN only where there is one", async () => {
    const paths = async (tun: boolean) => {
      const host = { ...healthyHost, preflight: { ...healthyHost.preflight, tun } };
      return container(await deploy({}, host)).devices.map(({ hostPath }: { hostPath: string }) => hostPath);
    };
    expect(await paths(true)).toEqual(["/dev/kvm", "/dev/net/tun"]);
    expect(await paths(false)).toEqual(["/dev/kvm"]);
  });

  it("B17: keeps guests from the host's public addresses; others need no other container", async () => {
    const at = (...addresses: string[]) =>
      deploy({}, { ...healthyHost, preflight: { ...healthyHost.preflight, addresses } });
    const before = await at("127.0.0.1", "203.0.113.9", "172.17.0.1", "203.0.113.9");
    const after = await at("127.0.0.1", "203.0.113.10", "172.17.0.1");
    expect(container(after)).toEqual(container(before));
    expect(only(before, "Command", "pids-limit").stdin).toContain('\n["203.0.113.9/32"]\n');
    expect(only(after, "Command", "pids-limit").stdin).toContain('\n["203.0.113.10/32"]\n');
  });

  it("builds for the processor that the engine runs on", async () => {
    const engine = { version: "28.0.0", api: "1.48", arch: "arm64", os: "linux", cgroup: "v2" };
    const host = { ...healthyHost, preflight: { ...healthyHost.preflight, engine } };
    expect(build(await deploy({}, host)).platform).toBe("linux/arm64");
  });
});

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

  it("is removed from the host unless a container is made of it", async () => {
    const load = only(await deploy({ host: "ssh://me@host.test" }), "Command", "image-load");
    expect(load.delete).toMatch(/docker image rm microsandbox-sandboxes-dev:/);
  });
});

describe("several services in one program", () => {
  it("have names of their own", async () => {
    const resources = await registered(() => {
      new Microsandbox("one", { hostPort: 5001 });
      new Microsandbox("two", { hostPort: 5002 });
    });
    const names = resources.filter(({ type }) => type.startsWith("docker:")).map(({ inputs }) => inputs.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("microsandbox-one-dev-server");
    expect(names).toContain("microsandbox-two-dev-state");
  });
});

describe("endpointUrl", () => {
  const none = "none";
  it.each([
    ["loopback here", "local", "127.0.0.1", none, "http://127.0.0.1:5555"],
    ["any address here", "local", "0.0.0.0", none, "http://127.0.0.1:5555"],
    ["any address there", "ssh://me@host.test", "0.0.0.0", none, "http://host.test:5555"],
    ["a named address there", "ssh://me@host.test", "10.1.2.3", none, "http://10.1.2.3:5555"],
    ["IPv6", "local", "::1", none, "http://[::1]:5555"],
    ["emulated", "emulated", "127.0.0.1", none, "http://127.0.0.1:5555"],
    ["a certificate of our own", "local", "127.0.0.1", "generated", "https://127.0.0.1:5555"],
    ["a given certificate", "local", "127.0.0.1", "given", "https://sandboxes.test:5555"],
  ] as const)("%s", (_name, host, bindAddress, tls, expected) => {
    expect(endpointUrl({ host, bindAddress, hostPort: 5555 }, tls, ["sandboxes.test"])).toBe(expected);
  });
});

it("gives clients a key to send in dev mode only", () => {
  expect(clientEnvironment("http://a", true)).toHaveProperty("MSB_API_KEY");
  expect(clientEnvironment("http://a", false)).not.toHaveProperty("MSB_API_KEY");
});
