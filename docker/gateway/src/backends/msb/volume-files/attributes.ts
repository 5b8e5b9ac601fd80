import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, type FileHandle } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { diskFull, ServiceError } from "../../../errors";
import { startError } from "../process";

/**
 * Extended attributes, which node can't read or write: Debian's getfattr and setfattr do. They are handed descriptors,
 * and names in an open folder that are not followed; never a path. Where the programs are missing, or the file system
 * has no attributes, there are none.
 */

/** The attributes of a file as getfattr writes and setfattr reads them; "" for none. */
export type Attributes = string;

const TIMEOUT_MS = 30_000;
/** Characters that getfattr may say: some file systems take any number of attributes, of 64 KiB each. */
const MAX_OUTPUT = 4 * 1024 * 1024;
/** Descriptor of a child that is a file of ours. */
const FILE = 3;
const MISSING_PROGRAM = 127;

/**
 * All attributes that a guest may have set, and msb's own.
 * @param signal ends the reading
 * @throws ServiceError unavailable where they could not be read: what they say must not be lost; the signal's reason
 */
export async function attributesOf(file: FileHandle, signal?: AbortSignal): Promise<Attributes> {
  const args = ["--dump", "--match=^user\\.", "--encoding=hex", "--absolute-names"];
  const { stdout } = asked(await run("getfattr", [...args, `/proc/self/fd/${FILE}`], { file, signal }));
  return stdout.split("\n").slice(1).join("\n").trim();
}

/** @throws ServiceError diskFull, or runtimeFailed where the file system can't keep them; the signal's reason */
export async function setAttributes(
  file: FileHandle,
  attributes: Attributes,
  signal?: AbortSignal,
): Promise<void> {
  if (attributes === "") return;
  const input = `# file: /proc/self/fd/${FILE}\n${attributes}\n`;
  const { code, stderr } = await run("setfattr", ["--restore=-"], { file, input, signal });
  if (code === 0) return;
  if (/No space left|quota exceeded/i.test(stderr)) throw diskFull();
  throw new ServiceError("runtimeFailed", "the file's attributes can't be kept");
}

/** One attribute of many files in a folder, in hexadecimal digits, by name; without those that have none. */
export async function attributeOfEach(
  folder: FileHandle,
  names: string[],
  attribute: string,
  signal?: AbortSignal,
): Promise<Map<string, string>> {
  if (names.length === 0) return new Map();
  const getfattr = await pathOf("getfattr");
  if (getfattr === undefined) return new Map();
  const match = `--match=^${attribute.replaceAll(".", "\\.")}$`;
  // xargs takes names that are no text, which an argument of node's can't be. The path is whole, since busybox's, which
  // the image has, would start busybox's own getfattr, which knows none of these options.
  const ran = await run(
    "xargs",
    ["-0", getfattr, "--no-dereference", "--dump", match, "--encoding=hex", "--"],
    { folder, signal, input: names.map((name) => `./${name}\0`).join("") },
  );
  const { stdout } = asked(ran);
  const found = new Map<string, string>();
  for (const [, quoted = "", value = ""] of stdout.matchAll(/^# file: (.*)\n[^=\n]*=0x([0-9a-f]*)$/gm))
    found.set(unquoted(quoted).replace(/^\.\//, ""), value);
  return found;
}

/** Where a program is, by PATH. */
async function pathOf(program: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, program);
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  return undefined;
}

/** What getfattr prints of a file system without attributes, and of a file that is gone by now. */
const NONE = /: (Operation not supported|No such file or directory)$/;

/** An answer that can be believed. @throws ServiceError unavailable */
function asked(ran: Ran): Ran {
  if (ran.code === 0 || ran.code === MISSING_PROGRAM) return ran;
  const lines = ran.stderr.trim().split("\n");
  if (ran.code > 0 && lines.every((line) => NONE.test(line))) return ran;
  throw new ServiceError("unavailable", "the attributes of files can't be read now; try again", {
    retryAfterSeconds: 2,
    cause: ran.stderr,
  });
}

const unquoted = (name: string) =>
  name.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

type RunOptions = { file?: FileHandle; folder?: FileHandle; input?: string; signal?: AbortSignal };
type Ran = { code: number; stdout: string; stderr: string };

/** Runs a program to its end. @throws the signal's reason, and then neither it nor its children run any more */
async function run(
  program: string,
  args: string[],
  { file, folder, input = "", signal }: RunOptions,
): Promise<Ran> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      // The child is in the open folder itself, whatever its name leads to by now.
      cwd: folder ? `/proc/self/fd/${folder.fd}` : "/",
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      stdio: ["pipe", "pipe", "pipe", ...(file ? [file.fd] : [])],
      // In a group of its own, with what it starts.
      detached: true,
    });
    const end = () => killGroup(child);
    const timer = setTimeout(end, TIMEOUT_MS);
    signal?.addEventListener("abort", end, { once: true });
    const ended = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    };
    const ran: Ran = { code: -1, stdout: "", stderr: "" };
    child.stdout?.setEncoding("latin1").on("data", (text) => {
      ran.stdout += text;
      if (ran.stdout.length > MAX_OUTPUT) end();
    });
    child.stderr?.setEncoding("latin1").on("data", (text) => {
      if (ran.stderr.length < 4096) ran.stderr += text;
    });
    child.once("error", (error: NodeJS.ErrnoException) => {
      ended();
      if (error.code === "ENOENT") resolve({ ...ran, code: MISSING_PROGRAM });
      else reject(startError(error));
    });
    child.once("close", (code, killed) => {
      ended();
      if (killed && signal?.aborted) reject(signal.reason);
      else resolve({ ...ran, code: code ?? -1 });
    });
    // It may end before it has read all: how it ended says more.
    child.stdin?.on("error", () => undefined).end(input, "latin1");
  });
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}
