import { type ChildProcess, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCommand } from "../../../setup/engine/run-command";

const script = join(__dirname, "../../../emulated-host/emulated-host.sh");

let home: string;
let process_: ChildProcess | undefined;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "emulated-host-cli-"));
});
afterEach(() => {
  process_?.kill("SIGKILL");
  process_ = undefined;
  rmSync(home, { recursive: true });
});

/** Runs the script with folders of its own, so that no host of the user is seen or touched. */
function emulatedHost(args: string[], env: Record<string, string> = {}) {
  return runCommand("bash", [script, ...args], {
    env: { XDG_DATA_HOME: join(home, "data"), XDG_CACHE_HOME: join(home, "cache"), ...env },
  });
}

/** The folder of a host, as an earlier start would have left it. */
function madeHost(name: string, files: Record<string, string>): string {
  const folder = join(home, "data/microsandbox-stack/emulated-hosts", name);
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
  return folder;
}

/** A living process and what the script knows it by: id, start time, id of this boot. */
function livingProcess(): string {
  process_ = spawn("sleep", ["60"], { stdio: "ignore" });
  const stat = readFileSync(`/proc/${process_.pid}/stat`, "utf8");
  const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `${process_.pid} ${startTime}@${boot}\n`;
}

it("is still found where the state of a stack deployed before it moved has it", async () => {
  const before = join(__dirname, "../../../toolchain/emulated-host/emulated-host.sh");
  expect(await runCommand("bash", [before, "delete"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('"" is not a valid host name'),
  });
});

describe.skipIf(process.platform !== "linux")("emulated-host.sh", () => {
  const errors: [string, string[], string][] = [
    ["no command", [], "Usage: emulated-host.sh COMMAND"],
    ["an unknown command", ["lunch"], "there is no command lunch"],
    ["no name", ["status"], '"" is not a valid host name'],
    ["a name that leaves the folder", ["delete", "../other"], '"../other" is not a valid host name'],
    ["start without a port", ["start", "box"], "start needs --port PORT"],
    [
      "a port that is none",
      ["start", "box", "--port", "70000"],
      "--port 70000: expected a whole number from 1",
    ],
    ["a port in words", ["start", "box", "--port", "http"], "--port http: expected"],
    ["the host's SSH port", ["start", "box", "--port", "22"], "--port 22: that is the host's own SSH port"],
    ["little memory", ["start", "box", "--port", "5555", "--memory-mib", "64"], "--memory-mib 64: expected"],
    ["no disk", ["start", "box", "--port", "5555", "--disk-gib", "0"], "--disk-gib 0: expected"],
    ["generation zero", ["start", "box", "--port", "5555", "--generation", "0"], "--generation 0: expected"],
    ["an address with a comma", ["start", "box", "--port", "5555", "--server-address", "1.2.3.4,x"], "IPv4"],
    ["another processor", ["start", "box", "--port", "5555", "--architecture", "riscv64"], "amd64 or arm64"],
    ["a base disk of another processor", ["base", "riscv64"], "expected amd64 or arm64"],
    ["an option without its value", ["start", "box", "--port"], "--port needs a value"],
    ["an unknown option", ["start", "box", "--cpus", "2"], "start does not know --cpus"],
    ["an unknown option of delete", ["delete", "box", "--force"], "delete does not know --force"],
    ["an owner that is none", ["start", "box", "--port", "5555", "--owner", "a b"], "--owner a b: expected"],
    ["load-image without a file", ["load-image", "box"], "load-image needs a FILE"],
    ["load-image of no file", ["load-image", "box", "/nope.tar"], "load-image can't read /nope.tar"],
  ];
  it.each(errors)("refuses %s and makes nothing", async (_what, args, message) => {
    const result = await emulatedHost(args);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(message);
    expect(result.stdout).toBe("");
    expect(readdirSync(home)).toEqual([]);
  });

  it.each([["ssh"], ["resume"]])("says that a host does not exist on %s", async (command) => {
    const result = await emulatedHost([command, "box"]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("there is no host box");
    expect(readdirSync(home)).toEqual([]);
  });

  it.each([
    ["amd64", "x86"],
    ["arm64", "arm"],
  ])("names the packages of missing programs for %s and ends with 3", async (architecture, qemu) => {
    const bin = join(home, "bin");
    mkdirSync(bin);
    for (const program of ["bash", "dirname", "sort", "tr", "uname"])
      symlinkSync(`/usr/bin/${program}`, join(bin, program));
    const args = ["start", "box", "--port", "5555", "--architecture", architecture];
    const result = await emulatedHost(args, { PATH: bin });
    expect(result.code).toBe(3);
    expect(result.stderr).toMatch(new RegExp(`sudo apt-get install .*openssh-client qemu-system-${qemu}`));
    expect(readdirSync(home)).toEqual(["bin"]);
  });

  it("does not give a host's disk to another processor", async () => {
    const folder = madeHost("box", { "data.img": "x", settings: "SERVER_PORT=5555\nARCHITECTURE=amd64\n" });
    const bin = join(home, "bin");
    mkdirSync(bin);
    symlinkSync("/bin/true", join(bin, "qemu-system-aarch64"));
    const args = ["start", "box", "--port", "5555", "--architecture", "arm64"];
    const result = await emulatedHost(args, { PATH: `${bin}:${process.env.PATH}` });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("the host box is amd64");
    expect(readFileSync(join(folder, "data.img"), "utf8")).toBe("x");
  });

  it("prints its help on standard output", async () => {
    const result = await emulatedHost(["--help"]);
    expect(result.code).toBe(0);
    expect(result.stdout).toContain("start NAME --port PORT");
  });
});

describe.skipIf(process.platform !== "linux")("emulated-host.sh status", () => {
  async function status(name: string): Promise<unknown> {
    const result = await emulatedHost(["status", name]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    return JSON.parse(result.stdout);
  }

  it("of a host that was never made wants the first start, and makes nothing", async () => {
    expect(await status("box")).toEqual({ running: false, generation: 0, wanted: 1, owner: "" });
    expect(readdirSync(home)).toEqual([]);
  });

  it("of a living host wants what it has", async () => {
    madeHost("box", { pid: livingProcess(), ready: "", generation: "3\n" });
    expect(await status("box")).toEqual({ running: true, generation: 3, wanted: 3, owner: "" });
  });

  it("of a host whose start was cut short wants another one", async () => {
    madeHost("box", { pid: livingProcess(), generation: "3\n" });
    expect(await status("box")).toEqual({ running: false, generation: 3, wanted: 4, owner: "" });
  });

  it("takes another process under the same id for what it is", async () => {
    const [pid, birth] = livingProcess().trim().split(" ");
    madeHost("older", { pid: `${pid} 1${birth}\n`, ready: "", generation: "3\n" });
    expect(await status("older")).toEqual({ running: false, generation: 3, wanted: 4, owner: "" });
  });

  it("takes a process of before a reboot for gone", async () => {
    const pid = livingProcess().replace(/@.*/, "@00000000-0000-0000-0000-000000000000");
    madeHost("box", { pid, ready: "", generation: "1\n" });
    expect(await status("box")).toEqual({ running: false, generation: 1, wanted: 2, owner: "" });
  });

  it.each(["", "x\n", "12; rm -rf /\n"])(
    "starts counting anew after a damaged count (%j)",
    async (generation) => {
      madeHost("box", { generation, pid: "" });
      expect(await status("box")).toEqual({ running: false, generation: 0, wanted: 1, owner: "" });
    },
  );

  it("deletes a host that does not run, with all its files", async () => {
    const folder = madeHost("box", { "data.img": "x", settings: "SERVER_PORT=5555\n", pid: "1 1@x\n" });
    const result = await emulatedHost(["delete", "box"]);
    expect(result.code).toBe(0);
    expect(readdirSync(join(folder, ".."))).toEqual([]);
  });
});

describe.skipIf(process.platform !== "linux")("a host that another deployment uses", () => {
  const made = () => {
    const settings = "SERVER_PORT=5555\nSERVER_ADDRESS=127.0.0.1\nMEMORY_MIB=3072\nDISK_GIB=20\n";
    return madeHost("box", { pid: livingProcess(), ready: "", generation: "3\n", owner: "one\n", settings });
  };
  const filesOf = (folder: string) =>
    readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), "utf8")]);

  it("is not started with other settings, nor shut down, and says how to take it", async () => {
    const folder = made();
    const before = filesOf(folder);
    const bin = join(home, "bin");
    mkdirSync(bin);
    symlinkSync("/bin/true", join(bin, "qemu-system-x86_64"));
    const start = ["start", "box", "--port", "6155", "--architecture", "amd64", "--owner", "two"];
    const started = await emulatedHost(start, { PATH: `${bin}:${process.env.PATH}` });
    expect(started.code).toBe(1);
    expect(started.stderr).toMatch(
      /used by another deployment\. Nothing was changed\.\n.* delete box --keep-disk/,
    );
    for (const keep of [[], ["--keep-disk"]]) {
      const deleted = await emulatedHost(["delete", "box", ...keep, "--owner", "two"]);
      expect([deleted.code, deleted.stderr]).toEqual([0, expect.stringContaining("left alone")]);
    }
    expect(filesOf(folder)).toEqual(before);
    expect(JSON.parse((await emulatedHost(["status", "box"])).stdout)).toMatchObject({
      running: true,
      owner: "one",
    });
  });

  it("is nobody's once it was deleted but for its disk", async () => {
    const folder = madeHost("box", { owner: "one\n", "data.img": "x", settings: "SERVER_PORT=5555\n" });
    expect((await emulatedHost(["delete", "box", "--keep-disk", "--owner", "one"])).code).toBe(0);
    expect(readdirSync(folder).sort()).toEqual(["data.img", "settings"]);
    expect(JSON.parse((await emulatedHost(["status", "box"])).stdout)).toMatchObject({ owner: "" });
  });
});
