import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hostShell, parseSshHost, remoteCommand, withVariables } from "../../components/host/connection";
import { script } from "../../components/host/scripts";
import { exec } from "../../setup/exec";
import { docker, ownedBy } from "../harness/docker";
import { Machine, noMachines } from "../harness/machine";
import { PushRegistry } from "../harness/registry";
import { freePort, TestStack } from "../harness/stack";

const unchanged = /Resources:\s+\d+ unchanged/;
const port = 17600;
/** The goal for three hosts in times of one, the image being everywhere (issue 6). */
const goal = 1.5;

const missing = noMachines();
if (missing) console.log(`several hosts not tested: ${missing}`);
const onMachines = it.skipIf(missing !== undefined);

const machines = { east: new Machine("test-east", 61), west: new Machine("test-west", 62) };
const east = { ...machines.east.settings, bindAddress: "0.0.0.0" };
const west = { ...machines.west.settings, bindAddress: "0.0.0.0" };
/** Where both machines reach this one. */
const registry = new PushRegistry("10.213.61.1:5443");
const common = {
  hostPort: port,
  privileged: false,
  exposeDevMode: true,
  exposeHttp: true,
  memoryLimit: "512M",
  stopTimeout: 5,
  volumes: { keep: false },
};
const fleet = new TestStack("test-fleet", common);
const lone = new TestStack("test-lone", { ...common, ...east, hostPort: port + 1 });
let localPort: number;

beforeAll(async () => {
  localPort = await freePort();
  if (missing) return;
  // One after the other: the first one installs what both need.
  for (const machine of Object.values(machines)) await machine.start();
});
afterAll(async () => {
  await lone.remove();
  await fleet.remove();
  await registry.stop();
  await Promise.all(Object.values(machines).map((machine) => machine.remove()));
});

/** Runs `up`; a failure shows what it printed. */
async function up(stack = fleet): Promise<string> {
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  return output;
}

const containerId = () => docker("inspect", "--format", "{{.Id}}", "microsandbox-test-fleet-server");
const idOn = (machine: "east" | "west") =>
  machines[machine].run(`docker inspect --format '{{.Id}}' microsandbox-${machine}-test-fleet-server`);
const logFiles = (machine: "east" | "west") =>
  machines[machine].run(
    `docker inspect --format '{{index .HostConfig.LogConfig.Config "max-file"}}' microsandbox-${machine}-test-fleet-server`,
  );

onMachines("adds hosts to a stack with one, whose server stays as it is", async () => {
  fleet.configure({ host: "local", hostPort: localPort });
  await up();
  const before = await containerId();

  fleet.configure({ hosts: { east, west } });
  const refused = await fleet.up();
  expect(refused.exitCode).toBe(1);
  // The fix keeps the server: what has it removed is no line to type.
  expect(refused.output).toMatch(/names east, west, but not default[\s\S]*fix: .*the name default/);
  expect(refused.output).not.toContain("hosts.east.allowRemoval");

  fleet.configure({ hostPort: port, hosts: { default: { hostPort: localPort }, east, west } });
  const output = await up();
  expect(await containerId()).toBe(before);
  const endpoints = {
    default: `http://127.0.0.1:${localPort}`,
    east: `http://${machines.east.address}:${port}`,
    west: `http://${machines.west.address}:${port}`,
  };
  expect((await fleet.outputs()).endpoints).toEqual(endpoints);
  for (const [host, url] of Object.entries(endpoints)) {
    expect(output).toContain(`Ready: ${url} (host ${host})`);
    expect((await fetch(`${url}/readyz`)).status, host).toBe(200);
  }
});

onMachines("runs the commands on the host that is named, and asks for a name", async () => {
  const named = await fleet.sandbox("--host", "west", "image", "ls");
  expect(named.exitCode, named.output).toBe(0);
  expect(named.output).toContain("starter");
  const unnamed = await fleet.sandbox("ls");
  expect(unnamed.exitCode).toBe(1);
  expect(unnamed.output).toMatch(/several hosts: default, east, west\. Choose one: --host default/);

  const doctor = await fleet.doctor("--host", "west");
  expect(doctor.output).toMatch(/✓ west: ssh:\/\/root@10\.213\.62\.2: The Docker engine/);
  expect(doctor.output).not.toContain("east");
});

onMachines("changes nothing when nothing has changed, and takes no time for each host", async () => {
  await up(lone);
  const seconds = async (stack: TestStack) => {
    const begun = Date.now();
    expect(await up(stack)).toMatch(unchanged);
    return (Date.now() - begun) / 1000;
  };
  const times: Record<"one" | "three", number[]> = { one: [], three: [] };
  const ratio = () => Math.min(...times.three) / Math.min(...times.one);
  // Other tests run beside this one: more rounds then, and the least of each is what it takes when nothing else runs.
  for (let round = 0; round < 2 || (ratio() > goal && round < 8); round++) {
    times.one.push(await seconds(lone));
    times.three.push(await seconds(fleet));
  }
  console.log(
    `up, image everywhere: one host ${times.one.join(", ")} s; three ${times.three.join(", ")} s; ratio ${ratio().toFixed(2)}`,
  );
  expect(ratio()).toBeLessThanOrEqual(goal);
});

onMachines(
  "goes on with the others where one can't be reached, a resource of one fails, and one has to be left alone",
  async () => {
    const before = await idOn("west");
    await machines.west.cut();
    // An image that no registry has: an error of the engine's, not of a check.
    const failing = { ...east, images: ["127.0.0.1:9/none:1"] };
    // Somebody else's, in the place of a server.
    const foreign = "microsandbox-here-test-fleet-server";
    await docker("rm", "--force", foreign);
    await docker("run", "--detach", "--name", foreign, "debian:13.2-slim", "sleep", "600");
    const here = { hostPort: await freePort() };
    fleet.configure({
      logMaxFiles: 2,
      hosts: { default: { hostPort: localPort }, east: failing, west, here },
    });
    const { exitCode, output } = await fleet.up();
    expect(exitCode).not.toBe(0);
    expect(output).toMatch(
      /Host west: The host root@10\.213\.62\.2 can't be used: its SSH server can't be reached/,
    );
    expect(output).toMatch(/error: Host here: A container .* exists that was not made by this stack/);
    expect(output).toMatch(/not deployed: here, west\./);
    expect(await docker("inspect", "--format", "{{.Config.Image}}", foreign)).toBe("debian:13.2-slim");
    expect(await docker("volume", "ls", "--quiet"), "nothing is made there").not.toContain(
      "microsandbox-here-test-fleet",
    );
    await docker("rm", "--force", foreign);
    expect(output).toMatch(/microsandbox-east-images-127\.0\.0\.1:9\/none:1[\s\S]*error/);
    expect(output, "no stack trace").not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
    // Above it Pulumi shows a line anew whenever something of its resource changes.
    const summary = output.split("Diagnostics:")[1];
    expect(summary?.match(/error: Host west/g), "said once").toHaveLength(1);
    expect(output.match(/^Updating/gm), "what Pulumi prints is shown once").toHaveLength(1);
    expect(await logFiles("east")).toBe("2");
    expect(
      await docker(
        "inspect",
        "--format",
        '{{index .HostConfig.LogConfig.Config "max-file"}}',
        "microsandbox-test-fleet-server",
      ),
    ).toBe("2");
    expect((await fleet.outputs()).endpoints).not.toHaveProperty("west");

    await machines.west.fix();
    expect(await idOn("west"), "left alone").toBe(before);
    const reached = await fleet.sandbox("--host", "west", "image", "ls");
    expect(reached.exitCode, reached.output).toBe(0);
    fleet.configure({ hosts: { default: { hostPort: localPort }, east, west } });
    await up();
    expect(await logFiles("west")).toBe("2");
  },
);

onMachines("takes the image through a registry, built once and pulled by its digest", async () => {
  await registry.start();
  const repository = `team/microsandbox-${fleet.name}`;
  const { registryUser, registryPassword } = registry.login;
  fleet.configure({ registry: `${registry.address}/team`, registryUser, registryPassword });
  await up();
  const images = await docker(
    "images",
    "--no-trunc",
    "--format",
    "{{.ID}} {{.Tag}}",
    "microsandbox*test-fleet",
  );
  expect(images.split("\n")).toHaveLength(3);
  expect(new Set(images.split("\n")).size, "one build for all").toBe(1);

  const [manifestList = "", ...others] = await registry.tags(repository);
  expect(others).toEqual([`${manifestList}-amd64`]);
  expect((await fleet.pulumi("stack", "export")).stdout, "secret").not.toContain(registryPassword);
  const { amd64 } = await registry.digests(repository, manifestList);
  for (const machine of ["east", "west"] as const) {
    const [id, tags] = (
      await machines[machine].run(
        `docker inspect --format '{{.Image}}' microsandbox-${machine}-test-fleet-server; docker images --format '{{.Tag}}' microsandbox-${machine}-test-fleet`,
      )
    ).split("\n");
    expect(images).toContain(id);
    expect(tags).toMatch(new RegExp(`-${amd64?.slice("sha256:".length, 19)}$`));
  }
});

onMachines(
  "finds nothing to do where an engine was started again: the server came back with it",
  async () => {
    const before = await idOn("east");
    await machines.east.restartEngine();
    const output = await up();
    expect(output).toMatch(unchanged);
    expect(await idOn("east")).toBe(before);
    const health = `docker inspect --format '{{.State.Health.Status}}' ${before}`;
    expect(await machines.east.run(health)).toBe("healthy");
  },
);

onMachines("sends a host what it lacks of an image, and nothing of one that it has", async () => {
  const server = (
    await docker("images", "--format", "{{.Repository}}:{{.Tag}}", "microsandbox-east-test-fleet")
  ).trim();
  const container = await docker("create", server, "true");
  await docker("cp", __filename, `${container}:/one-more-layer`);
  const id = (await docker("commit", container, "test-fleet-more:1")).trim();
  await docker("rm", container);

  const sent = join(await mkdtemp(join(tmpdir(), "microsandbox-sent-")), "image.tar");
  const { host, sshKeyFile, sshKnownHostsFile } = machines.east.settings;
  const connection = parseSshHost(host, { identityFile: sshKeyFile, knownHostsFile: sshKnownHostsFile });
  const send = async (REFERENCE: string, LOADER: string) => {
    const variables = { REFERENCE, HOST_SHELL: hostShell(connection), LOADER };
    const { stdout } = await exec("sh", ["-s"], {
      input: withVariables(variables, script("image/send-image")),
    });
    return stdout;
  };
  expect(
    await send("test-fleet-more:1", `tee ${sent} | { ${remoteCommand(connection, "docker load")}; }`),
  ).toBe(id);
  const size = (await stat(sent)).size;
  console.log(
    `sent ${size} bytes of an image of ${await docker("image", "inspect", "--format", "{{.Size}}", id)}`,
  );
  expect(size).toBeLessThan(2_000_000);
  expect(await machines.east.run(`docker run --rm ${id} /usr/local/bin/node --version`)).toMatch(/^v\d+/);

  await docker("tag", id, "test-fleet-more:2");
  expect(await send("test-fleet-more:2", "false"), "known by its id").toBe(id);
  await docker("rmi", "test-fleet-more:1", "test-fleet-more:2");
  await machines.east.run("docker rmi test-fleet-more:1 test-fleet-more:2");
  await rm(dirname(sent), { recursive: true });
});

onMachines("removes one host and touches no other", async () => {
  const before = [await containerId(), await idOn("east")];
  fleet.configure({ hosts: { default: { hostPort: localPort }, east } });
  await up();
  expect([await containerId(), await idOn("east")]).toEqual(before);
  expect(
    await machines.west.run("docker ps --all --quiet; docker volume ls --quiet; docker images --quiet"),
  ).toBe("");
});

onMachines("destroys all of them", async () => {
  const { exitCode, output } = await fleet.destroy();
  expect(exitCode, output).toBe(0);
  expect(await machines.east.run("docker ps --all --format '{{.Names}}'")).toBe(
    "microsandbox-test-lone-server",
  );
  for (const kind of ["container", "network", "volume"] as const)
    expect(await ownedBy(fleet.name, kind)).toEqual([]);
});
