import { createServer } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { docker, ownedBy } from "../harness/docker";
import { EngineProxy } from "../harness/engine-proxy";
import { PlainPulumi } from "../harness/plain-pulumi";
import { smallServer } from "../harness/stack";

const stack = "test-faults";
const base = `microsandbox-${stack}`;
const container = `${base}-server`;
/** The base image under another name: the server's image is another one then, of the same layers. */
const debian = "debian:13.2-faults";
const late = { timeout: 60_000, interval: 200 };
const pulumi = new PlainPulumi();
const engine = new EngineProxy();
let port: number;
let settings: Record<string, unknown>;

beforeAll(async () => {
  const small = await smallServer();
  port = small.hostPort;
  settings = {
    ...small,
    volumes: { keep: false },
  };
  await engine.start();
  await pulumi.start();
  await pulumi.init(stack, settings);
  delete pulumi.environment.DOCKER_HOST;
  const client = { env: pulumi.environment, extendEnv: false };
  await exec("docker", ["context", "create", "test", "--docker", `host=${engine.url}`], client);
  await exec("docker", ["context", "use", "test"], client);
  await docker("tag", "debian:13.2-slim", debian);
});
afterAll(async () => {
  try {
    await pulumi.run("cancel", "--yes", "--stack", stack);
    await pulumi.run("destroy", "--yes", "--skip-preview", "--stack", stack);
    for (const kind of ["container", "network", "volume"] as const)
      expect(await ownedBy(stack, kind)).toEqual([]);
  } finally {
    await docker("rmi", debian);
    pulumi.remove();
    await engine.stop();
  }
});

/** Runs a command of Pulumi's that has to succeed. */
async function succeed(...args: string[]): Promise<string> {
  const { exitCode, output } = await pulumi.run(...args, "--stack", stack);
  expect(exitCode, output).toBe(0);
  return output;
}
const up = (...flags: string[]) => succeed("up", "--yes", "--skip-preview", ...flags);
/** Runs a command that has to fail. */
async function fail(...args: string[]): Promise<string> {
  const { exitCode, output } = await pulumi.run(...args, "--stack", stack);
  expect(exitCode, output).not.toBe(0);
  return output;
}
const inspect = (format: string) => docker("inspect", "--format", format, container);
const healthy = () =>
  expect.poll(() => inspect("{{.State.Health.Status}}").catch(String), late).toBe("healthy");
const status = () => fetch(`http://127.0.0.1:${port}/v1/sandboxes`).then((answer) => answer.status, String);
const serverImage = (name: string) =>
  expect
    .poll(() => inspect('{{index .Config.Labels "org.opencontainers.image.base.name"}}'), late)
    .toBe(name);
/** What of the container clients and the host would miss. */
async function serving() {
  const [{ HostConfig, Config, Mounts, NetworkSettings }] = JSON.parse(await docker("inspect", container));
  const { Memory, MemoryReservation, MemorySwap, PidsLimit, CpuQuota, CpuShares } = HostConfig;
  const { PortBindings, RestartPolicy, LogConfig, Privileged, ReadonlyRootfs, Tmpfs, Init } = HostConfig;
  const { Labels, User, Hostname, StopTimeout, Image } = Config;
  return {
    ...{ Memory, MemoryReservation, MemorySwap, PidsLimit, CpuQuota, CpuShares },
    ...{ PortBindings, RestartPolicy, LogConfig, Privileged, ReadonlyRootfs, Tmpfs, Init },
    ...{ CapDrop: HostConfig.CapDrop, SecurityOpt: HostConfig.SecurityOpt, GroupAdd: HostConfig.GroupAdd },
    ...{ Labels, User, Hostname, StopTimeout, Image, Env: Config.Env.sort() },
    mounts: Mounts.map((each: { Name?: string; Destination: string }) => [
      each.Destination,
      each.Name,
    ]).sort(),
    networks: Object.keys(NetworkSettings.Networks),
  };
}
const creation = new RegExp(`POST .*/containers/create\\?.*name=${container}(&| )`);

it("deploys to the engine of the chosen docker context, with the provider and with docker's client", async () => {
  await up();
  expect(engine.requests.filter((line) => creation.test(line))).toHaveLength(1);
  // Only the client of docker's asks for these.
  expect(engine.requests).toContainEqual(expect.stringContaining(`/containers/${container}/exec `));
  await docker("exec", container, "sh", "-c", "echo kept >/workspace/kept && msb volume create data");
});

it("makes a stopped server and its removed image anew in an up --refresh", async () => {
  await docker("stop", container);
  const images = await docker("images", "--format", "{{.Repository}}:{{.Tag}}", base);
  await docker("rmi", "--force", ...images.split("\n"));
  await up("--refresh");
  await healthy();
  expect(images.split("\n")).toContain(await docker("images", "--format", "{{.Repository}}:{{.Tag}}", base));
  expect(await docker("exec", container, "cat", "/workspace/kept")).toBe("kept");
});

it("does not drop its only host", async () => {
  const before = await inspect("{{.Id}} {{.State.StartedAt}}");
  pulumi.configure(stack, { ...settings, hosts: { other: { host: "local" } } });
  for (const command of [["preview"], ["up", "--yes", "--skip-preview"]])
    expect(await fail(...command)).toMatch(/names other, but not default[\s\S]*the name default/);
  expect(await inspect("{{.Id}} {{.State.StartedAt}}")).toBe(before);
});

it("deploys the others of several hosts where one is down, and names that one", async () => {
  const hosts = { default: {}, down: { host: "ssh://root@127.0.0.1:9" } };
  pulumi.configure(stack, { ...settings, logMaxFiles: 4, hosts });
  expect(await fail("up", "--yes", "--skip-preview", "--continue-on-error")).toMatch(
    /Host down: The host root@127\.0\.0\.1:9 can't be used: its SSH server can't be reached/,
  );
  expect(await inspect('{{index .HostConfig.LogConfig.Config "max-file"}}')).toBe("4");
  await healthy();
});

it("an upgrade whose new container can't start tells how to go on", async () => {
  const reached = engine.hold(creation);
  pulumi.configure(stack, { ...settings, debianVersion: "13.2-faults" });
  const running = fail("up", "--yes", "--skip-preview");
  const goOn = await reached;
  const other = createServer().listen(port, "127.0.0.1");
  goOn();
  expect(await running).toMatch(
    /replacing the old one[\s\S]*if that fails, to go on: pulumi up --stack test-faults[\s\S]*(address already in use|port is already allocated)/,
  );
  other.close();
  await up("--refresh");
  await healthy();
  await serverImage(debian);
  expect(await status()).toBe(200);
  await succeed("preview", "--refresh", "--expect-no-changes");
});

it("a killed up leaves a server of the new image where the old one was removed", async () => {
  // What the host waits before it acts.
  pulumi.environment.TAKE_OVER_SECONDS = "5";
  const reached = engine.hold(creation);
  pulumi.configure(stack, settings);
  const running = fail("up", "--yes", "--skip-preview");
  await reached;
  process.kill(pulumi.lockOwner(stack) ?? 0, "SIGKILL");
  await running;
  expect(await ownedBy(stack, "container")).toEqual([]);
  await healthy();
  await serverImage("debian:13.2-slim");
  expect(await status()).toBe(200);
  expect(await docker("exec", container, "sh", "-c", "cat /workspace/kept; msb volume ls")).toMatch(
    /kept[\s\S]*data/,
  );

  await succeed("cancel", "--yes");
  const left = await inspect("{{.Id}}");
  expect(await fail("up", "--yes", "--skip-preview")).toMatch(
    /is not the one of this stack's state[\s\S]*docker stop .* && docker rm/,
  );
  expect(await inspect("{{.Id}}")).toBe(left);
  const standIn = await serving();
  await docker("stop", container);
  await docker("rm", container);
  await succeed("refresh", "--yes", "--skip-preview");
  await up();
  await healthy();
  expect(standIn).toEqual(await serving());
  expect(await docker("exec", container, "sh", "-c", "cat /workspace/kept; msb volume ls")).toMatch(
    /kept[\s\S]*data/,
  );
});
