/** A real QEMU: boots, runs containers with KVM, survives kill -9, keeps its disk, and goes without a trace. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCommand } from "../../setup/engine/run-command";

const script = join(__dirname, "../../emulated-host/emulated-host.sh");
const SERVER_PORT = 17455;
const OTHER_PORT = 17456;
const memory = ["--memory-mib", "2048"];

const missing = ["qemu-system-x86_64", "mmdebstrap"].filter((program) => !existsSync(`/usr/bin/${program}`));
if (missing.length > 0)
  console.log(`emulated host not tested: ${missing.join(", ")} missing (npm run setup)`);

interface Started {
  sshPort: number;
  identityFile: string;
  generation: number;
  pid: number;
}

describe.skipIf(missing.length > 0)("an emulated host", () => {
  // Hosts of this test alone; the base disk comes from the user's cache, and stays there.
  const home = mkdtempSync(join(tmpdir(), "emulated-host-test-"));
  const hosts = join(home, "microsandbox-stack/emulated-hosts");
  let first: Started;

  async function emulatedHost(...args: string[]): Promise<string> {
    const begun = Date.now();
    const result = await runCommand("bash", [script, ...args], { env: { XDG_DATA_HOME: home } });
    const label = args.join(" ").replaceAll("\n", " ").slice(0, 70);
    console.log(`emulated-host.sh ${label}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
    if (!result.ok) throw new Error(`emulated-host.sh ${label} failed (${result.code}):\n${result.stderr}`);
    return result.stdout.trim();
  }
  const start = async (name: string, ...args: string[]): Promise<Started> =>
    JSON.parse(await emulatedHost("start", name, ...memory, ...args));
  const status = async (name: string): Promise<unknown> => JSON.parse(await emulatedHost("status", name));
  const inGuest = (command: string) => emulatedHost("ssh", "one", "--", command);

  beforeAll(async () => {
    await emulatedHost("base");
  });
  afterAll(async () => {
    for (const name of existsSync(hosts) ? readdirSync(hosts) : []) {
      if (!name.startsWith(".")) await emulatedHost("delete", name);
    }
    rmSync(home, { recursive: true });
  });

  it("is started once by two starts at the same time", async () => {
    const port = ["--port", String(SERVER_PORT)];
    const [a, b] = await Promise.all([start("one", ...port), start("one", ...port, "--generation", "1")]);
    expect(a.pid).toBe(b.pid);
    expect(await status("one")).toEqual({ running: true, generation: 1, wanted: 1, owner: "" });
    first = a;
  });

  it("is left alone by a start that asks for nothing new", async () => {
    const begun = Date.now();
    const again = await start("one", "--port", String(SERVER_PORT), "--generation", "1");
    expect(again).toEqual(first);
    expect(Date.now() - begun).toBeLessThan(5_000);
  });

  it("runs a privileged container with /dev/kvm, and serves its port on this machine's loopback only", async () => {
    await inGuest("tar -c -C / usr/bin/busybox | docker import - tiny");
    const opened = await inGuest(
      "docker run --rm --privileged --device /dev/kvm tiny /usr/bin/busybox sh -c '/usr/bin/busybox sh -c \"exec 3<>/dev/kvm\" && echo opened'",
    );
    expect(opened).toBe("opened");
    await inGuest(
      `docker run -d --name web --restart unless-stopped -v content:/www -p ${SERVER_PORT}:80 tiny ` +
        "/usr/bin/busybox httpd -f -h /www && " +
        "docker run --rm -v content:/www tiny /usr/bin/busybox sh -c 'echo kept > /www/index.html'",
    );
    expect(await fetchFromHost(SERVER_PORT)).toBe("kept\n");
    const address = Object.values(networkInterfaces())
      .flat()
      .find((candidate) => candidate && !candidate.internal && candidate.family === "IPv4")?.address;
    if (!address) console.log("this machine has no address but loopback: the other ones are not tested");
    else {
      expect(await opens(address, SERVER_PORT)).toBe(false);
      expect(await opens(address, first.sshPort)).toBe(false);
    }
  });

  it("gives containers the limits that they ask for, swap included", async () => {
    const limits = await inGuest(
      "docker run --rm --memory 256m --memory-swap 256m --cpus 0.5 tiny /usr/bin/busybox cat " +
        "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max /sys/fs/cgroup/cpu.max",
    );
    expect(limits.split("\n")).toEqual([String(256 * 1024 * 1024), "0", "50000 100000"]);
  });

  it("loads an image archive, and loads it again without its known layers", async () => {
    const archive = join(home, "tiny.tar");
    const id = await inGuest("docker image inspect --format '{{.Id}}' tiny");
    const saved = await inGuest("docker save tiny | base64 -w0");
    writeFileSync(archive, Buffer.from(saved, "base64"));
    await inGuest("docker rm -f web && docker image rm tiny");
    await emulatedHost("load-image", "one", archive);
    expect(await inGuest("docker image inspect --format '{{.Id}}' tiny")).toBe(id);

    await inGuest("docker tag tiny other && docker image rm tiny");
    await emulatedHost("load-image", "one", archive);
    expect(await inGuest("docker image inspect --format '{{.Id}}' tiny")).toBe(id);
    await inGuest(
      `docker run -d --name web --restart unless-stopped -v content:/www -p ${SERVER_PORT}:80 tiny ` +
        "/usr/bin/busybox httpd -f -h /www",
    );
  });

  it("is missed after kill -9, and started again with all that was on it", async () => {
    await inGuest("sync");
    process.kill(first.pid, "SIGKILL");
    await until(() => !existsSync(`/proc/${first.pid}`));
    expect(await status("one")).toEqual({ running: false, generation: 1, wanted: 2, owner: "" });

    const second = await start("one", "--port", String(SERVER_PORT), "--generation", "2");
    expect(second.sshPort).toBe(first.sshPort);
    expect(await status("one")).toEqual({ running: true, generation: 2, wanted: 2, owner: "" });
    expect(await fetchFromHost(SERVER_PORT)).toBe("kept\n");
  });

  /** The settings emulatedMemory and emulatedDisk, changed. */
  it("comes back with its disk after a delete that keeps it, with more memory and room, beside another host", async () => {
    const size = async () =>
      (await inGuest("free -m | awk '/^Mem/ { print $2 }'; df -BG --output=size /var/lib/docker | tail -1"))
        .split("\n")
        .map(Number.parseFloat);
    const [memoryBefore = 0, diskBefore = 0] = await size();
    await emulatedHost("delete", "one", "--keep-disk");
    expect(await status("one")).toEqual({ running: false, generation: 2, wanted: 3, owner: "" });
    await Promise.all([
      start("one", "--port", String(OTHER_PORT), "--disk-gib", "30", "--memory-mib", "2560"),
      start("two", "--port", String(SERVER_PORT)),
    ]);
    expect(await inGuest("docker run --rm -v content:/www tiny /usr/bin/busybox cat /www/index.html")).toBe(
      "kept",
    );
    const [memoryAfter, diskAfter] = await size();
    expect(memoryAfter).toBeGreaterThan(memoryBefore + 400);
    expect(diskAfter).toBeGreaterThan(diskBefore + 8);
    expect(await emulatedHost("ssh", "two", "--", "docker volume ls --quiet")).toBe("");
    expect(await emulatedHost("list")).toMatch(/^one\trunning.*\ntwo\trunning/);
  });

  it("leaves nothing when it is deleted", async () => {
    const { pid, sshPort } = await start("one", "--port", String(OTHER_PORT));
    await emulatedHost("delete", "one");
    await emulatedHost("delete", "two");
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(await opens("127.0.0.1", OTHER_PORT)).toBe(false);
    expect(await opens("127.0.0.1", sshPort)).toBe(false);
    expect(readdirSync(hosts)).toEqual([]);
    await emulatedHost("delete", "one");
  });
});

/** Asks the web server in the guest; it may still be starting. */
async function fetchFromHost(port: number): Promise<string> {
  let text = "";
  await until(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/index.html`).catch(() => undefined);
    if (!answer?.ok) return false;
    text = await answer.text();
    return true;
  });
  return text;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 60 s: ${holds}`);
    await sleep(200);
  }
}

/** Whether something listens at this address. */
function opens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 3_000 });
    const end = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket
      .on("connect", () => end(true))
      .on("error", () => end(false))
      .on("timeout", () => end(false));
  });
}
