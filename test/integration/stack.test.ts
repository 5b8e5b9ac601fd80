import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { projectRoot } from "../../toolchain/backend";
import { exec } from "../../toolchain/exec";
import { canRunPrivileged, docker, ownedBy } from "../harness/docker";
import { TestRegistry } from "../harness/registry";
import { freePort, TestStack } from "../harness/stack";

/** What Pulumi prints about a run that changed nothing. */
const unchanged = /Resources:\s+\d+ unchanged/;
const changed = /\d+ (created|updated|replaced|deleted)/;

let stack: TestStack;
let url: string;
const container = "microsandbox-test-local-server";

beforeAll(async () => {
  const hostPort = await freePort();
  url = `http://127.0.0.1:${hostPort}`;
  stack = new TestStack("test-local", {
    hostPort,
    privileged: await canRunPrivileged(),
    kvmCheck: "device",
    memoryLimit: "1G",
    memoryReservation: "256M",
    stopTimeout: 5,
  });
});
afterAll(async () => {
  await stack.remove();
  for (const volume of await ownedBy(stack.name, "volume")) await docker("volume", "rm", volume);
});

/** Runs `up`; a failure shows what it printed. */
async function up(): Promise<string> {
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  return output;
}

it("deploys from nothing, ready when it ends", async () => {
  const output = await up();
  expect(output).toContain(`Ready: ${url}`);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await (await fetch(`${url}/version`)).json()).toMatchObject({ msb: "0.7.11" });
});

it("sets on the container what the settings say", async () => {
  const [inspected] = JSON.parse(await docker("inspect", container));
  expect(inspected.HostConfig).toMatchObject({
    Memory: 1024 ** 3,
    MemorySwap: 1024 ** 3,
    MemoryReservation: 256 * 1024 ** 2,
    CpuShares: 1024,
    PidsLimit: 4096,
    Init: true,
    RestartPolicy: { Name: "unless-stopped" },
    LogConfig: { Type: "json-file", Config: { "max-size": "100m", "max-file": "3" } },
  });
  expect(inspected.HostConfig.PortBindings["5555/tcp"][0].HostIp).toBe("127.0.0.1");
  expect(inspected.Config.StopTimeout).toBe(20);
  expect(inspected.State.Health.Status).toBe("healthy");
});

it("changes nothing when nothing has changed", async () => {
  expect(await up()).toMatch(unchanged);
  const refreshed = await stack.pulumi("up", "--refresh", "--yes", "--skip-preview");
  expect(refreshed.output).toMatch(unchanged);
  expect(refreshed.output).not.toMatch(changed);
  const preview = await stack.pulumi("preview", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});

describe("registries", () => {
  let registry: TestRegistry;
  let serverId: string;
  const set = async (path: string, value: string, ...flags: string[]) => {
    const { exitCode, output } = await stack.pulumi("config", "set", "--path", ...flags, path, value);
    expect(exitCode, output).toBe(0);
  };
  const inServer = (...words: string[]) => docker("exec", container, ...words);
  const id = () => docker("inspect", "--format", "{{.Id}}", container);

  beforeAll(async () => {
    registry = await TestRegistry.start(container);
    serverId = await id();
  });
  afterAll(() => registry.stop());

  it("are reached with a private authority and a password, without TLS, and by a mirror", async () => {
    await set('registries.mirrors["docker.io"]', `${registry.plain}/`);
    await set("registries.plainHttp[0]", registry.plain);
    await set("registries.certificates", `\n${registry.authority}`); // Its dashes look like an option's.
    await set(`registries.logins["${registry.private}"].username`, registry.login.username);
    await set(`registries.logins["${registry.private}"].password`, registry.login.password, "--secret");
    await set("images[0]", "tiny:1");
    await set("images[1]", `${registry.private}/team/private:2`);
    await up();
    const images = JSON.parse(await inServer("msb", "image", "ls", "--format", "json"));
    expect(images.map(({ reference }: { reference: string }) => reference)).toEqual(
      expect.arrayContaining([`${registry.plain}/library/tiny:1`, `${registry.private}/team/private:2`]),
    );
    expect(await id(), "no other container").toBe(serverId);
    expect(await up()).toMatch(unchanged);
  });

  it("keep their passwords to themselves", async () => {
    const { password } = registry.login;
    expect(await inServer("cat", `/var/lib/microsandbox/secrets/registries/127.0.0.1_5001`)).toBe(password);
    const state = await stack.pulumi("stack", "export");
    expect(state.stdout).toContain("registries-settings");
    expect(state.stdout).not.toContain(password);
    expect(await docker("inspect", container)).not.toContain(password);
    expect(await docker("logs", container)).not.toContain(password);
    const left = await exec("grep", ["--recursive", "--files-with-matches", password, ".pulumi-state"], {
      cwd: projectRoot,
      reject: false,
    });
    expect(left.stdout).toBe("");
  });

  it("are forgotten when they are set no more", async () => {
    for (const key of ["registries", "images"]) await stack.pulumi("config", "rm", key);
    await up();
    const found = await inServer(
      "sh",
      "-c",
      "ls /var/lib/microsandbox/secrets/registries; cat /var/lib/microsandbox/config.json",
    );
    expect(JSON.parse(found)).toEqual({ registries: { hosts: {} } });
    expect(await id()).toBe(serverId);
  });
});

it("makes a container again that was killed and removed, and keeps the volumes", async () => {
  await docker("exec", container, "sh", "-c", "echo kept > /var/lib/microsandbox/kept && sync");
  await docker("kill", "--signal", "KILL", container);
  await docker("rm", "--force", container);
  await up();
  expect(await docker("exec", container, "cat", "/var/lib/microsandbox/kept")).toBe("kept");
});

it("replaces the container when a setting of it changes, and keeps the volumes", async () => {
  stack.configure({ logMaxFiles: 2 });
  await up();
  expect(await docker("exec", container, "cat", "/var/lib/microsandbox/kept")).toBe("kept");
  expect(
    await docker("inspect", "--format", '{{index .HostConfig.LogConfig.Config "max-file"}}', container),
  ).toBe("2");
});

it("destroys everything but the volumes that are to be kept", async () => {
  const { exitCode, output } = await stack.destroy();
  expect(exitCode, output).toBe(0);
  expect(await ownedBy(stack.name, "container")).toEqual([]);
  expect(await ownedBy(stack.name, "network")).toEqual([]);
  expect(await ownedBy(stack.name, "volume")).toEqual([
    "microsandbox-test-local-state",
    "microsandbox-test-local-workspace",
  ]);
  expect(await docker("images", "--quiet", "microsandbox-test-local")).toBe("");
  await expect(fetch(url)).rejects.toThrow();
});

it("finds the kept volumes again, and removes them when told so", async () => {
  stack.configure({ volumes: '{"keep":false}' });
  await up();
  expect(await docker("exec", container, "cat", "/var/lib/microsandbox/kept")).toBe("kept");
  const { exitCode, output } = await stack.destroy();
  expect(exitCode, output).toBe(0);
  expect(await ownedBy(stack.name, "volume")).toEqual([]);
});
