import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../components/args";
import { Microsandbox } from "../../../components/microsandbox";
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

/** Settings of the image, of the host, of files that the server reads again, and of what an `up` does. */
const elsewhere: (keyof typeof settingsSchema.shape)[] = [
  ...(["versionSha256", "debianVersion", "registryPrefix", "registry", "registryUser"] as const),
  ...([
    "registryPassword",
    "apiKey",
    "generateApiKey",
    "keys",
    "host",
    "hosts",
    "sshKeyFile",
    "sshKnownHostsFile",
    "sshHostKey",
  ] as const),
  ...(["emulatedMemory", "emulatedDisk", "architecture", "images", "registries", "production"] as const),
  ...(["kvmCheck", "upgradeCopies", "serverImage", "builder", "cluster"] as const),
];

it("each setting either ends in the container, and is changed here, or does not", () => {
  const known = [...Object.keys(settings), ...elsewhere].sort();
  expect(known).toEqual(Object.keys(settingsSchema.shape).sort());
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
