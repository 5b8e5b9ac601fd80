import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, release, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { emulatedHostTool } from "../../components/host/emulated-host";
import { exec } from "../../setup/exec";
import { type Asked, ask } from "../harness/ask";
import { checksAreDocumented } from "../harness/bench-security";
import { docker, ownedBy, tinyImage } from "../harness/docker";
import { Machine, noMachines } from "../harness/machine";
import { freePort, TestStack } from "../harness/stack";
import { conformance } from "./suites/conformance";
import {
  createGreedy,
  digestOf,
  forksOf,
  OUTER,
  probe,
  reached,
  readProbe,
  snapshotOf,
  target,
} from "./suites/guest-network";
import { pausesAndForks } from "./suites/pauses-and-forks";
import { SecretHunt } from "./suites/secrets";
import { takesWarm, WARM } from "./suites/warm";

const hostName = "microsandbox-test-e2e";
const dataHome = process.env.XDG_DATA_HOME ?? join(homedir(), ".local/share");
const hostFolder = join(dataHome, "microsandbox-stack/emulated-hosts", hostName);
let stack: TestStack;
/** The base image under another name. */
const otherBase = "debian:test-e2e";
/** A host beside it, with an engine of its own. */
const machine = new Machine("test-e2e-east", 64);
let url: string;
/** The same, with the authority of the server's certificate once it has one. */
let server: Asked;
let key: string;
let hunt: SecretHunt;
const backups = mkdtempSync(join(tmpdir(), "microsandbox-backup-"));
/** Digest of the snapshot of the sandbox that is kept. */
let snapshot: string;
const backup = join(backups, "privileged.tar");
/** What guests are after on the machine around the emulated host. */
let outer: Awaited<ReturnType<typeof target>>;

beforeAll(async () => {
  outer = await target();
  const hostPort = await freePort();
  url = `http://127.0.0.1:${hostPort}`;
  server = { url };
  stack = new TestStack("test-e2e", {
    host: "emulated",
    hostPort,
    kvmCheck: "boot",
    devMode: false,
    volumes: '{"keep":false}',
  });
  await stack.removeLeftovers();
});
afterAll(async () => {
  outer?.close();
  rmSync(backups, { recursive: true });
  await stack.remove();
  await machine.remove();
  await docker("image", "rm", "--force", otherBase);
});

async function up(): Promise<string> {
  const { exitCode, output } = await stack.up();
  if (exitCode !== 0) expect.fail(`up ended with ${exitCode}:\n${output}\n${await serverState()}`);
  return output;
}

/** How the server's container is and what it wrote last, for the report of a failure. */
async function serverState(): Promise<string> {
  const line = `docker ps --all --no-trunc; docker logs --tail 15 ${hostName}-server 2>&1; free -m; df -h /`;
  return onHost(`"${line}"`).catch(String);
}

async function hostStatus(): Promise<{ running: boolean; generation: number }> {
  const { stdout } = await exec("sh", ["-c", `${emulatedHostTool()} status ${hostName}`]);
  return JSON.parse(stdout);
}

/** A shell line on the emulated host. */
async function onHost(line: string): Promise<string> {
  return (await exec("sh", ["-c", `${emulatedHostTool()} ssh ${hostName} -- ${line}`])).stdout;
}

/** Runs a command in a new microVM of the built-in image. */
async function inSandbox(...command: string[]): Promise<string> {
  const { exitCode, stdout, output } = await stack.sandbox("run", "starter", "--", ...command);
  expect(exitCode, output).toBe(0);
  return stdout.trim();
}

/** Writes a word to the disk of the sandbox that is to be kept. */
async function keep(word: string): Promise<void> {
  const wrote = await stack.sandbox("exec", "keeper", "--", "sh", "-c", `echo ${word} > /root/file`);
  expect(wrote.exitCode, wrote.output).toBe(0);
}

async function kept(): Promise<string> {
  const { stdout } = await stack.sandbox("exec", "keeper", "--", "cat", "/root/file");
  return stdout.trim();
}

/** Waits until a sandbox that ran before the server was stopped has been started again. */
async function runsAgain(name: string): Promise<void> {
  const listed = async () => JSON.parse((await stack.sandbox("ls", "--format", "json")).stdout);
  const deadline = Date.now() + 120_000;
  for (;;) {
    const row = (await listed()).find((each: { name: string }) => each.name === name);
    if (row?.status === "Running") return;
    if (Date.now() > deadline)
      expect.fail(`${name} is ${row?.status}\n${await onHost(`docker logs --tail 30 ${hostName}-server`)}`);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
}

it("goes from nothing to a ready service on an emulated host", async () => {
  expect(await up()).toContain(`Ready: ${url}`);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

it("has a key of its own, which only the owner of the stack can read, and takes no other", async () => {
  const output = await stack.pulumi("stack", "output", "apiKey", "--show-secrets");
  key = output.stdout.trim();
  expect(key).toMatch(/^msb_[0-9a-f]{64}$/);
  const status = async (authorization?: string) =>
    (await fetch(`${url}/v1/sandboxes`, { headers: authorization ? { authorization } : {} })).status;
  expect(await status(`Bearer ${key}`)).toBe(200);
  expect(await status(`Bearer ${key.slice(0, -1)}`)).toBe(401);
  expect(await status()).toBe(401);
});

it("says hello from a microVM in the privileged container, with a kernel of its own", async () => {
  expect(await inSandbox("echo", "Hello from sandbox")).toBe("Hello from sandbox");
  const guest = await inSandbox("uname", "-r");
  console.log(`uname -r: guest ${guest}, this machine ${release()}`);
  expect(guest).toMatch(/^\d+\.\d+/);
  expect(guest).not.toBe(release());
  const { guestKernel } = await stack.outputs();
  expect(guestKernel).toBe(guest);
});

it("fails the checks of docker-bench-security that the docs say, being privileged", async () => {
  const [inspected] = JSON.parse(await onHost(`docker inspect ${hostName}-server`));
  checksAreDocumented("privileged", inspected);
});

it("changes nothing when nothing has changed", async () => {
  const refreshed = await stack.pulumi("up", "--refresh", "--yes", "--skip-preview");
  expect(refreshed.exitCode, refreshed.output).toBe(0);
  expect(refreshed.output).toMatch(/Resources:\s+\d+ unchanged/);
  const preview = await stack.pulumi("preview", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});

it("keeps guests from the server, the host, private networks and metadata, whatever a client asks for", async () => {
  const [address = "", bridge = ""] = (
    await onHost(
      `"docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}' ${hostName}-server"`,
    )
  )
    .trim()
    .split(" ");
  const inner = "5555";
  const own = ["GATEWAY", "0.0.0.0", address].map((host) => `${host}:${inner}`);
  const host = [`${bridge}:22`, "10.0.2.15:22", `${OUTER}:${outer.port}`];

  // Without the server's rules all of these answer: so a guest made with msb itself shows.
  const script = probe([...own, ...host]);
  const open = await stack.sandbox("run", "starter", "--net-default", "allow", "--", "sh", "-c", script);
  const free = readProbe(open.stdout, [...own, ...host], open.output);
  expect(free).toEqual(expect.arrayContaining([`GATEWAY:${inner}`, `${address}:${inner}`, ...host]));

  await createGreedy(server, key, "greedy");
  const all = [...own, ...host, "169.254.169.254:80", "172.17.0.1:22"];
  expect(await reached(stack, "greedy", all)).toEqual([]);
  // A fork has the rules of its source, whatever it was asked for.
  await forksOf(server, key, "greedy", ["greedy-fork"]);
  expect(await reached(stack, "greedy-fork", all)).toEqual([]);
  expect((await stack.sandbox("rm", "--force", "greedy-fork")).exitCode).toBe(0);
  // msb keeps no rules in a snapshot: what starts from one has the server's all the same.
  await snapshotOf(server, key, "greedy", "greedy");
  expect((await stack.sandbox("rm", "--force", "greedy")).exitCode).toBe(0);
  await createGreedy(server, key, "greedy-again", "greedy");
  expect(await reached(stack, "greedy-again", all)).toEqual([]);
  expect((await stack.sandbox("rm", "--force", "greedy-again")).exitCode).toBe(0);
  expect((await ask(server, "/v1/snapshots/by-name/greedy", { method: "DELETE", key })).status).toBe(200);
});

it("takes images from archives, lists them and prunes them, but for the built-in one", async () => {
  const archive = join(await tinyImage("tiny:1"), "image.tar");
  const loaded = await stack.images("load", archive);
  expect(loaded.exitCode, loaded.output).toBe(0);
  expect((await stack.images("list")).stdout).toContain("tiny");
  const ran = await stack.sandbox("run", "tiny:1", "--", "cat", "/etc/passwd");
  expect(ran.stdout, ran.output).toContain("root:x:0:0");

  const pruned = await stack.images("prune");
  expect(pruned.exitCode, pruned.output).toBe(0);
  const left = (await stack.images("list")).stdout;
  expect(left).not.toContain("tiny");
  expect(left).toContain("starter");
});

it("backs up what a privileged server's sandboxes have", async () => {
  const made = await stack.sandbox("create", "starter", "--name", "keeper");
  expect(made.exitCode, made.output).toBe(0);
  await keep("backed up");
  snapshot = await snapshotOf(server, key, "keeper", "keeper");
  const backedUp = await stack.backup(backup);
  expect(backedUp.exitCode, backedUp.output).toBe(0);
  console.log(backedUp.output.match(/The server was down for \d+ s|Backed up .*/g)?.join("; "));
  await runsAgain("keeper");
});

it("upgrades: tries the new image on the state, keeps sandboxes, and boots them without privileges, with TLS", async () => {
  hunt = new SecretHunt({ stack, key, server: () => server, onHost, container: `${hostName}-server` });
  // Not synced: only a sandbox that is stopped cleanly has it afterwards.
  await keep("kept");

  // The name of the base image is a label of the server's: another image, with the same layers.
  await docker("tag", "debian:13.2-slim", otherBase);
  stack.configure({
    debianVersion: otherBase.split(":")[1],
    privileged: false,
    tls: '{"generate":true}',
    egressAllow: JSON.stringify([`${OUTER}:${outer.port}`]),
    warm: JSON.stringify(WARM),
  });
  const output = await up();
  expect(output).toMatch(/Stopping the server of 0\.7\.11: its sandboxes are stopped cleanly/);
  expect(output).toMatch(/The new server is ready, and has booted a microVM: replacing the old one/);
  expect(output).toMatch(/Container microsandbox-server-container .*replace/);
  const [away] = output.match(/The server was replaced .*: the service was down for \d+ s/) ?? [];
  expect(away).toBeDefined();
  console.log(away);
  url = url.replace("http:", "https:");
  expect(output).toContain(`Ready: ${url}`);
  server = { url, authority: String((await stack.outputs()).caCertificate) };
  expect((await ask(server, "/readyz")).status).toBe(200);
  await expect(ask({ url }, "/readyz")).rejects.toThrow(/certificate/);
  await runsAgain("keeper");
  expect(await kept()).toBe("kept");
  expect(await digestOf(server, key, "keeper")).toBe(snapshot);
  const preview = await stack.pulumi("preview", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
  // It comes back from the backup; until then the official clients have the host's one CPU for themselves.
  const removed = await stack.sandbox("rm", "--force", "keeper");
  expect(removed.exitCode, removed.output).toBe(0);
});

it("passes docker-bench-security without privileges, and is not root", async () => {
  const [inspected] = JSON.parse(await onHost(`docker inspect ${hostName}-server`));
  checksAreDocumented("hardened", inspected);
  expect((await onHost(`docker exec ${hostName}-server id -u`)).trim()).toBe("5555");
  const group = (await onHost("stat -c %g /dev/kvm")).trim();
  expect(inspected.HostConfig.GroupAdd).toEqual([group]);
});

describe("official clients, over TLS and without privileges", () => conformance(() => ({ ...server, key })));

it("takes keys and a registry's password while it runs", () => hunt.begin());

it("lets guests reach what is opened, and nothing beside it", async () => {
  await createGreedy(server, key, "opened");
  const addresses = [`${OUTER}:${outer.port}`, `${OUTER}:${url.split(":").at(-1)}`, "10.0.2.15:22"];
  expect(await reached(stack, "opened", addresses)).toEqual([`${OUTER}:${outer.port}`]);
  expect((await stack.sandbox("rm", "--force", "opened")).exitCode).toBe(0);
});

it("gives a create that fits a sandbox that was booted before, under the same rules", () =>
  takesWarm(
    stack,
    { server, key },
    { open: [`${OUTER}:${outer.port}`], closed: [`${OUTER}:${url.split(":").at(-1)}`, "10.0.2.15:22"] },
  ));

it("pauses, resumes and forks microVMs with what they hold in memory", () =>
  pausesAndForks(stack, server, key));

it("gives a sandbox's disk back from the backup of the privileged server, as the server's own", async () => {
  const restored = await stack.restore(backup, "--force");
  expect(restored.exitCode, restored.output).toBe(0);
  await runsAgain("keeper");
  expect(await kept()).toBe("backed up");
  expect(await digestOf(server, key, "keeper")).toBe(snapshot);
  await createGreedy(server, key, "of-keeper", "keeper");
  const read = await stack.sandbox("exec", "of-keeper", "--", "cat", "/root/file");
  expect(read.stdout.trim(), read.output).toBe("backed up");
  expect((await stack.sandbox("rm", "--force", "of-keeper")).exitCode).toBe(0);
  // Copies that upgrades made are for going back to the server that was, and stay as they were.
  // An empty volume is the image's folder, root's and open to all.
  const copies = "-path /var/lib/microsandbox/copies -prune";
  const others = `find /var/lib/microsandbox /workspace -mindepth 1 ${copies} -o ! -user 5555 -print`;
  expect((await onHost(`docker exec ${hostName}-server ${others}`)).trim()).toBe("");
  await onHost(`docker exec ${hostName}-server mkdir /workspace/writable /var/lib/microsandbox/writable`);
  await onHost(`docker exec ${hostName}-server rmdir /workspace/writable /var/lib/microsandbox/writable`);
});

it("starts a killed QEMU again with the next up, its volumes intact, and adds two hosts beside it", async () => {
  const containerId = () => onHost(`docker inspect --format {{.Id}} ${hostName}-server`);
  const before = await containerId();
  const pid = Number(readFileSync(join(hostFolder, "pid"), "utf8").split(" ")[0]);
  expect(pid).toBeGreaterThan(1);
  process.kill(pid, "SIGKILL");

  // The host that the stack has is called `default`, and stays as it is.
  const endpoints: Record<string, string> = { default: url };
  const hosts: Record<string, object> = { default: {} };
  // No guest boots on this machine's own KVM, as a rule.
  const light = { kvmCheck: "device", memoryLimit: "512M", tls: { generate: false } };
  const herePort = await freePort();
  hosts.here = { ...light, host: "local", hostPort: herePort };
  endpoints.here = `http://127.0.0.1:${herePort}`;
  const missing = noMachines();
  if (missing) console.log(`two engines instead of three: ${missing}`);
  else {
    await machine.start();
    hosts.east = { ...light, ...machine.settings, hostPort: 17700, bindAddress: "0.0.0.0", exposeHttp: true };
    endpoints.east = `http://${machine.address}:17700`;
  }
  const set = await stack.pulumi("config", "set", "hosts", JSON.stringify(hosts));
  expect(set.exitCode, set.output).toBe(0);

  const output = await up();
  expect(output).toMatch(/emulated host/);
  expect(await containerId()).toBe(before);
  expect((await stack.sandbox("--host", "default", "ls")).stdout).toContain("keeper");
  expect((await stack.outputs()).endpoints).toEqual(endpoints);
  for (const [host, endpoint] of Object.entries(endpoints)) {
    expect(output).toContain(`Ready: ${endpoint} (host ${host})`);
    expect((await ask({ ...server, url: endpoint }, "/readyz")).status, host).toBe(200);
  }
});

it("has shown none of its secrets, after all of that", () => hunt.end());

it("leaves no process, no port and no files", async () => {
  const { exitCode, output } = await stack.destroy();
  expect(exitCode, output).toBe(0);
  expect(await hostStatus()).toMatchObject({ running: false, generation: 0 });
  await expect(ask(server, "/readyz")).rejects.toThrow(/ECONNREFUSED/);
  const { stdout: processes } = await exec("sh", [
    "-c",
    "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '",
  ]);
  expect(processes).not.toContain(`emulated-hosts/${hostName}/`);
  expect(existsSync(hostFolder)).toBe(false);
  for (const kind of ["container", "network", "volume"] as const)
    expect(await ownedBy(stack.name, kind)).toEqual([]);
});
