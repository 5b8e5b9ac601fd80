import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { settingsSchema } from "../../components/settings/schema";
import { projectRoot } from "../../setup/project";
import { docker, ownedBy } from "../harness/docker";
import { freePort, smallServer, TestStack } from "../harness/stack";

type Setting = keyof typeof settingsSchema.shape;
/** What is set, what is looked at, and what has to be seen then and not before. */
type Change = [value: unknown, look: () => Promise<unknown>, seen: unknown];
type Changes = { [setting in Setting]?: Change };

const name = "test-settings";
const container = `microsandbox-${name}-server`;
/** The base image under a name that only both settings together give. */
const base = "mirror.test/hub/debian:13.2-settings";
let stack: TestStack;
let otherPort: number;
/** What the stack has now. */
let settings: Record<string, unknown>;

beforeAll(async () => {
  otherPort = await freePort();
  settings = await smallServer();
  stack = new TestStack(name, settings);
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  await docker("tag", "debian:13.2-slim", base);
});
afterAll(async () => {
  await stack.remove();
  for (const volume of await ownedBy(name, "volume")) await docker("volume", "rm", volume);
  await docker("rmi", base);
});

/** Part of what the engine says of the container. @param path @example "HostConfig.Memory" */
const inspect = (path: string) => async () => {
  const [found] = JSON.parse(await docker("inspect", container));
  return path.split(".").reduce((value, key) => value?.[key], found);
};
const variable = (key: string) => async () =>
  (await inspect("Config.Env")()).find((entry: string) => entry.startsWith(`${key}=`));
const published = (part: "HostIp" | "HostPort") => async () =>
  Object.values((await inspect("HostConfig.PortBindings")()) as object)[0][0][part];
const mountedAt = (path: string) => async () =>
  (await inspect("Mounts")()).find(({ Destination }: { Destination: string }) => Destination === path).Name;
const baseImage = async () => (await inspect("Config.Labels")())["org.opencontainers.image.base.name"];

const endpoint = async () => new URL(String((await stack.outputs()).endpoint));
const apiKey = async () => (await stack.pulumi("stack", "output", "apiKey", "--show-secrets")).stdout.trim();

/** What the server answers to a key. */
const status = (key: string) => async () => {
  const headers = { authorization: `Bearer ${key}` };
  return (await fetch(new URL("/v1/sandboxes", await endpoint()), { headers })).status;
};

/** Changes settings together with plain pulumi, and looks at each of them before and afterwards. */
async function apply(changes: Changes, along: Record<string, unknown> = {}): Promise<void> {
  const look = async () => {
    const found = Object.entries(changes).map(async ([key, [, seen]]) => [key, await seen()] as const);
    return Object.fromEntries(await Promise.all(found));
  };
  const expected = Object.fromEntries(Object.entries(changes).map(([key, [, , seen]]) => [key, seen]));
  const before = await look();
  for (const key of Object.keys(expected)) expect(before[key], `${key} before`).not.toEqual(expected[key]);
  settings = { ...settings, ...along, ...valuesOf(changes) };
  stack.configure(settings);
  const { exitCode, output } = await stack.pulumi("up", "--yes", "--skip-preview");
  expect(exitCode, output).toBe(0);
  expect(await look()).toEqual(expected);
  const again = await stack.pulumi("preview", "--refresh", "--expect-no-changes");
  expect(again.exitCode, again.output).toBe(0);
}

const valuesOf = (changes: Changes) =>
  Object.fromEntries(Object.entries(changes).map(([key, [value]]) => [key, value]));

/** Settings that a preview refuses, and takes once another one allows them. */
async function refused(given: Record<string, unknown>, allowed: Record<string, unknown>): Promise<void> {
  const [word = ""] = Object.keys(allowed);
  stack.configure(given);
  const first = await stack.pulumi("preview");
  expect(first.exitCode).not.toBe(0);
  expect(first.output).toMatch(new RegExp(`\\b${word}\\b`));
  stack.configure(allowed);
  const second = await stack.pulumi("preview");
  expect(second.exitCode, second.output).toBe(0);
  restore({ ...given, ...allowed });
}
function restore(changed: object): void {
  stack.configure({
    ...Object.fromEntries(Object.keys(changed).map((key) => [key, undefined])),
    ...settings,
  });
}

const MIB = 1024 * 1024;
const key = "k".repeat(40);

/** Each of them while the container stays, or with one replacement for all. */
const ofContainer: Changes = {
  cpuLimit: [1.5, inspect("HostConfig.CpuQuota"), 150_000],
  cpuReservation: [0.5, inspect("HostConfig.CpuShares"), 512],
  memoryLimit: ["1200M", inspect("HostConfig.Memory"), 1200 * MIB],
  memoryReservation: ["200M", inspect("HostConfig.MemoryReservation"), 200 * MIB],
  pidsLimit: [2000, inspect("HostConfig.PidsLimit"), 2000],
  timezone: ["Asia/Tokyo", () => docker("exec", container, "date", "+%z"), "+0900"],
  logMaxSize: ["20m", inspect("HostConfig.LogConfig.Config.max-size"), "20m"],
  logMaxFiles: [5, inspect("HostConfig.LogConfig.Config.max-file"), "5"],
  // With what the container needs beyond the sandboxes' own time.
  stopTimeout: [30, inspect("Config.StopTimeout"), 45],
  warm: [
    [{ image: "starter", count: 1 }],
    variable("WARM"),
    'WARM=[{"image":"starter","count":1,"vcpus":1,"memoryMib":512}]',
  ],
  autoPullImages: [false, variable("AUTO_PULL_IMAGES"), "AUTO_PULL_IMAGES=false"],
  egress: ["none", variable("EGRESS"), expect.stringContaining('"level":"none"')],
  limits: [{ sandboxes: 7 }, variable("LIMIT_SANDBOXES"), "LIMIT_SANDBOXES=7"],
  debianVersion: ["13.2-settings", baseImage, "debian:13.2-settings"],
  registryPrefix: ["mirror.test/hub/", baseImage, "debian:13.2-settings"],
  kvmCheck: ["off", async () => (await stack.outputs()).kvm, "not checked"],
};
const ofNetwork = (): Changes => ({
  port: [8080, async () => Object.keys(await inspect("HostConfig.PortBindings")()), ["8080/tcp"]],
  hostPort: [otherPort, published("HostPort"), String(otherPort)],
  bindAddress: ["127.0.0.2", published("HostIp"), "127.0.0.2"],
  egressAllow: [["10.1.0.0/16"], variable("EGRESS"), expect.stringContaining("10.1.0.0/16")],
  volumes: [{ state: `${name}-other` }, mountedAt("/var/lib/microsandbox"), `${name}-other`],
  isolateByKey: [true, variable("OWN_SANDBOXES"), "OWN_SANDBOXES=true"],
  devMode: [false, status("dev"), 401],
});

/** Settings whose effect another test sees; its file names them. */
const elsewhere: { [setting in Setting]?: string } = {
  version: "integration/upgrade.test.ts",
  upgradeCopies: "integration/upgrade.test.ts",
  keys: "integration/stack.test.ts",
  images: "integration/stack.test.ts",
  registries: "integration/stack.test.ts",
  architecture: "integration/both-architectures.test.ts",
  builder: "unit/components/image/prebuilt-image.test.ts",
  serverImage: "integration/push-image.test.ts",
  registry: "integration/several-hosts.test.ts",
  registryUser: "integration/several-hosts.test.ts",
  registryPassword: "integration/several-hosts.test.ts",
  host: "integration/ssh-host.test.ts",
  hosts: "integration/several-hosts.test.ts",
  cluster: "unit/components/cluster/settings.test.ts",
  sshKeyFile: "integration/ssh-host.test.ts",
  sshKnownHostsFile: "integration/ssh-host.test.ts",
  sshHostKey: "integration/ssh-host.test.ts",
  emulatedMemory: "integration/emulated-host.test.ts",
  emulatedDisk: "integration/emulated-host.test.ts",
};
/** Those that the tests below change. */
const alone: Setting[] = [
  ...(["versionSha256", "production", "exposeHttp", "exposeDevMode"] as const),
  ...(["privileged", "tls", "apiKey", "generateApiKey"] as const),
];

it("each setting is changed by a test", () => {
  const known = [ofContainer, ofNetwork(), elsewhere].flatMap((each) => Object.keys(each));
  expect([...known, ...alone].sort()).toEqual(Object.keys(settingsSchema.shape).sort());
  for (const [setting, file] of Object.entries(elsewhere)) {
    const path = join(projectRoot, "test", file);
    expect(existsSync(path) && readFileSync(path, "utf8"), file).toMatch(new RegExp(`\\b${setting}\\b`));
  }
});

describe("a setting that is changed on a deployed stack is seen", () => {
  it("in the container and the image", () => apply(ofContainer));

  it("where clients connect, and who may", () => apply(ofNetwork()));

  it("in the keys that the server takes, and in the one that a stack makes", async () => {
    await apply({ apiKey: [key, status(key), 200] });
    await apply({ generateApiKey: [true, apiKey, expect.stringMatching(/^msb_/)] }, { apiKey: undefined });
    expect(await status(key)()).toBe(401);
    await refused({ generateApiKey: false }, { apiKey: key });
  });

  it("in what is refused", async () => {
    await refused({ bindAddress: "0.0.0.0", devMode: true, isolateByKey: false }, { exposeDevMode: true });
    await refused({ bindAddress: "0.0.0.0" }, { exposeHttp: true });
    await refused({ production: true }, { production: false });
  });

  it("in the check of what the image is made of", async () => {
    const versionSha256 = { amd64: "0".repeat(64), arm64: "0".repeat(64) };
    stack.configure({ versionSha256 });
    const { exitCode, output } = await stack.pulumi("up", "--yes", "--skip-preview");
    expect(exitCode).not.toBe(0);
    expect(output).toMatch(/checksum|sha256/i);
    restore({ versionSha256 });
  });

  it("in the certificate, and in the lack of privileges", async () => {
    const tls: Changes = { tls: [{ generate: true }, async () => (await endpoint()).protocol, "https:"] };
    const privileged: Changes = { privileged: [false, inspect("HostConfig.ReadonlyRootfs"), true] };
    await apply(settings.privileged === true ? { ...tls, ...privileged } : tls);
  });
});
