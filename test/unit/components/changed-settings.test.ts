import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../components/args";
import { Microsandbox } from "../../../components/microsandbox";
import { settingMeta } from "../../../components/settings/fields";
import { settingsSchema } from "../../../components/settings/schema";
import { healthyHost, type Registered, registered } from "../../harness/pulumi-mocks";

/**
 * What the Docker provider does when an argument of a container changes: seen with previews of 5.2.0 for each argument,
 * and in its resourceDockerContainerUpdate. An argument that is in none of the lists it takes into the state alone.
 */
const provider = {
  replaces: [
    ...["name", "image", "hostname", "privileged", "devices", "securityOpts", "capabilities", "user"],
    ...["groupAdds", "readOnly", "shmSize", "logDriver", "logOpts", "stopSignal", "stopTimeout", "envs"],
    ...["networksAdvanced", "networkMode", "ports", "volumes", "labels"],
  ],
  updates: ["restart", "cpuShares", "memory", "memoryReservation", "memorySwap"],
  // How the provider itself makes and removes a container: the state is where it looks.
  own: ["mustRun", "wait", "waitTimeout", "destroyGraceSeconds"],
};

const deploy = (args: MicrosandboxArgs, host = healthyHost) =>
  registered(() => new Microsandbox("sandboxes", args), host);
const find = (resources: Registered[], end: string): Registered => {
  const found = resources.find(({ name }) => name.endsWith(end));
  if (!found) throw new Error(`no resource ${end}`);
  return found;
};
const text = (value: unknown) => JSON.stringify(value) ?? "";

/** How a change of the first deployment's settings gets at a container that runs: what becomes of each argument. */
function ways(before: Registered[], after: Registered[]): Record<string, "replaced" | "updated" | "lost"> {
  const [old, container] = [find(before, "-server-container"), find(after, "-server-container")];
  const changed = [...new Set([...Object.keys(old.inputs), ...Object.keys(container.inputs)])].filter(
    (key) => text(old.inputs[key]) !== text(container.inputs[key]),
  );
  const updated =
    text(find(before, "-pids-limit").inputs.stdin) !== text(find(after, "-pids-limit").inputs.stdin);
  const way = (key: string) => {
    if (provider.replaces.includes(key) || container.replaceOnChanges.includes(key)) return "replaced";
    if ([...provider.updates, ...provider.own].includes(key)) return "updated";
    return ["cpuQuota", "cpuPeriod"].includes(key) && updated ? "updated" : "lost";
  };
  return Object.fromEntries([
    ...changed.map((key) => [key, way(key)] as const),
    ...(updated ? [["docker update", "updated"] as const] : []),
  ]);
}

const key = { devMode: false, apiKey: "k".repeat(40) };

/** Each setting that ends in the container with another value than its default, and what has to be set along with it. */
const settings: { [setting in keyof MicrosandboxArgs]?: MicrosandboxArgs[] } = {
  version: [{ version: "0.6.18" }],
  autoPullImages: [{ autoPullImages: false }],
  devMode: [key],
  exposeDevMode: [{ exposeDevMode: true, bindAddress: "0.0.0.0" }],
  isolateByKey: [{ ...key, isolateByKey: true }],
  port: [{ port: 8080 }],
  hostPort: [{ hostPort: 6000 }],
  bindAddress: [{ bindAddress: "127.0.0.2" }],
  timezone: [{ timezone: "Europe/Berlin" }],
  cpuLimit: [{ cpuLimit: 2 }, { cpuLimit: 1.5 }],
  cpuReservation: [{ cpuReservation: 0.5 }],
  memoryLimit: [{ memoryLimit: "2G" }],
  memoryReservation: [{ memoryReservation: "512M" }],
  pidsLimit: [{ pidsLimit: 1000 }],
  privileged: [{ privileged: false }],
  tls: [{ tls: { generate: true } }],
  exposeHttp: [{ ...key, exposeHttp: true, bindAddress: "0.0.0.0" }],
  egress: [{ egress: "none" }],
  egressAllow: [{ egressAllow: ["10.1.0.0/16"] }],
  volumes: [{ volumes: { state: "other" } }, { volumes: { workspace: "other" } }],
  limits: [{ limits: { sandboxes: 7 } }],
  warm: [{ warm: [{ image: "starter", count: 1 }] }],
  stopTimeout: [{ stopTimeout: 30 }],
  logMaxSize: [{ logMaxSize: "20m" }],
  logMaxFiles: [{ logMaxFiles: 5 }],
};

const ssh = { host: "ssh://root@host.test" };
const emulated = { host: "emulated", memoryLimit: "1G" };
const hostKey = String(settingMeta.get(settingsSchema.shape.sshHostKey)?.example);
const registry = { ...ssh, registry: "registry.test/team" };
const login = { registryUser: "jane", registryPassword: "secret-word" };

/** Settings of the image, the host and files that the server reads again: the resource that gets the value, and how. */
const others: { [setting in keyof MicrosandboxArgs]?: [args: MicrosandboxArgs, end: string, seen: RegExp] } =
  {
    versionSha256: [
      { versionSha256: { amd64: "a".repeat(64) } },
      "-image-build",
      /"MICROSANDBOX_SHA256":"a{64}"/,
    ],
    debianVersion: [{ debianVersion: "13.9-slim" }, "-image-build", /"DEBIAN_VERSION":"13\.9-slim"/],
    registryPrefix: [
      { registryPrefix: "mirror.test/" },
      "-image-build",
      /"REGISTRY_PREFIX":"mirror\.test\/"/,
    ],
    architecture: [{ ...emulated, architecture: "arm64" }, "-emulated-machine", /arm64/],
    builder: [{ ...ssh, builder: "host" }, "-image-build", /::sandboxes-host-engine::/],
    serverImage: [
      { serverImage: `r.test/s@sha256:${"c".repeat(64)}` },
      "-image-load",
      /SOURCE=r\.test\/s@sha256:c{64}/,
    ],
    registry: [registry, "-image-push", /LIST=registry\.test\/team\/microsandbox-dev:/],
    registryUser: [{ ...registry, ...login }, "-image-push", /REGISTRY_USER=jane/],
    registryPassword: [{ ...registry, ...login }, "-image-push", /REGISTRY_PASSWORD=secret-word/],
    host: [{ host: "ssh://root@other.test" }, "-host-engine", /"host":"ssh:\/\/root@other\.test"/],
    sshKeyFile: [{ ...ssh, sshKeyFile: "/keys/id" }, "-host-engine", /IdentityFile=\S*\/keys\/id/],
    sshKnownHostsFile: [
      { ...ssh, sshKnownHostsFile: "/known/hosts" },
      "-host-engine",
      /UserKnownHostsFile=\S*\/known\/hosts/,
    ],
    sshHostKey: [{ ...ssh, sshHostKey: hostKey }, "-host-engine", /AAAAC3NzaC1lZDI1NTE5/],
    emulatedMemory: [{ ...emulated, emulatedMemory: "3G" }, "-emulated-machine", /3072/],
    emulatedDisk: [{ ...emulated, emulatedDisk: "33G" }, "-emulated-machine", /33/],
    apiKey: [key, "-key-file", new RegExp(createHash("sha256").update(key.apiKey).digest("hex"))],
    generateApiKey: [{ devMode: false, generateApiKey: true }, "-api-key", /msb_/],
    keys: [{ ...key, keys: [{ id: "ci", hash: `sha256:${"f".repeat(64)}` }] }, "-key-file", /f{64}/],
    images: [{ images: ["alpine:3.22"] }, "-images-alpine:3.22", /image=alpine:3\.22/],
    registries: [
      { registries: { mirrors: { "docker.io": "mirror.test/hub/" } } },
      "-registries-settings",
      /mirror\.test\/hub/,
    ],
    upgradeCopies: [{ upgradeCopies: 9 }, "-upgrade-done", /KEEP=9/],
    kvmCheck: [{ kvmCheck: "boot" }, "-upgrade-trial", /BOOT=1/],
  };

/** Those that other tests deploy: several hosts, a cluster, and what is refused. */
const elsewhere: (keyof typeof settingsSchema.shape)[] = ["hosts", "cluster", "production"];

it("each setting is changed here, or in another test", () => {
  const known = [...Object.keys(settings), ...Object.keys(others), ...elsewhere].sort();
  expect(known).toEqual(Object.keys(settingsSchema.shape).sort());
});

describe("a changed setting reaches what it is for", () => {
  const told = (resources: Registered[], end: string) =>
    resources
      .filter(({ name }) => name.endsWith(end))
      .map(({ inputs, provider }) => text([inputs, provider]));
  it.each(Object.entries(others))("%s", async (_name, [args, end, seen]) => {
    const { architecture, devMode } = args;
    const engine = {
      ...(healthyHost.preflight.engine as object),
      ...(architecture && { arch: architecture }),
    };
    const host = { ...healthyHost, preflight: { ...healthyHost.preflight, engine } };
    expect(told(await deploy(args, host), end).join("\n")).toMatch(seen);
    // Neither is it by default, nor because of what has to be set along with it.
    const another = { ...key, apiKey: "o".repeat(40) };
    const along =
      [ssh, emulated].find((each) => each.host === args.host) ?? (devMode === false ? another : {});
    expect(told(await deploy(along), end).join("\n")).not.toMatch(seen);
  });
});

describe("a changed setting reaches a container that runs", () => {
  const cases = Object.entries(settings).flatMap(([name, given]) =>
    given.map((args): [string, MicrosandboxArgs] => [`${name}: ${text(args)}`, args]),
  );
  it.each(cases)("%s", async (_name, args) => {
    const found = ways(await deploy({}), await deploy(args));
    expect(Object.keys(found)).not.toEqual([]);
    expect(Object.values(found)).not.toContain("lost");
  });

  it("limits without a restart", async () => {
    const args = {
      cpuLimit: 2,
      cpuReservation: 0.5,
      memoryLimit: "2G",
      memoryReservation: "512M",
      pidsLimit: 99,
    };
    const found = ways(await deploy({}), await deploy(args));
    expect(new Set(Object.values(found))).toEqual(new Set(["updated"]));
    expect(find(await deploy(args), "-pids-limit").inputs.stdin).toMatch(
      /^docker update --pids-limit 99 --cpu-period 100000 --cpu-quota 200000 \S+$/m,
    );
  });

  it("and so does another engine, which probes in another way", async () => {
    const engine = { ...(healthyHost.preflight.engine as object), api: "1.41" };
    const older = { ...healthyHost, preflight: { ...healthyHost.preflight, engine } };
    expect(ways(await deploy({}, older), await deploy({}))).toEqual({ healthcheck: "replaced" });
  });

  it("and so does each argument that another release may set in another way", async () => {
    const certificate = { tls: { generate: true } };
    const all = [
      await deploy({}),
      await deploy({ privileged: false }),
      await deploy({ ...key, ...certificate }),
    ];
    for (const resources of all) {
      const { inputs, replaceOnChanges } = find(resources, "-server-container");
      const handled = [...Object.values(provider).flat(), ...replaceOnChanges, "cpuQuota", "cpuPeriod"];
      expect(Object.keys(inputs).filter((each) => !handled.includes(each))).toEqual([]);
    }
  });
});
