import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { npmClient, pythonClient } from "../../harness/clients";
import {
  type Client,
  ClientError,
  clientEnvironment,
  type Endpoint,
  knowsSnapshots,
  type Refused,
  type Session,
} from "./session";

/** What both SDKs can send of what has to be refused. */
const refused: Refused[] = ["bind mount", "patch from a file"];

/** The Python SDK at a version of the PyPI package. */
export const pythonSdk = (version: string): Client => ({
  label: `Python SDK ${version}`,
  mounts: true,
  snapshots: knowsSnapshots(version),
  refused,
  async open(endpoint, home) {
    const { python, packages } = await pythonClient(version);
    return openSdk([python, join(__dirname, "driver.py")], endpoint, home, { PYTHONPATH: packages });
  },
});

/** The npm SDK at a version of the npm package. */
export const npmSdk = (version: string): Client => ({
  label: `npm SDK ${version}`,
  mounts: true,
  // There is none of 0.7 yet, and the driver has no words for it.
  snapshots: false,
  refused,
  async open(endpoint, home) {
    const folder = await npmClient(version);
    return openSdk([process.execPath, join(__dirname, "driver.mjs"), folder], endpoint, home, {});
  },
});

function openSdk(
  [program = "", ...args]: string[],
  endpoint: Endpoint,
  home: string,
  environment: Record<string, string>,
): Session {
  const env = { PATH: process.env.PATH, ...environment, ...clientEnvironment(endpoint, home) };
  const driver = new Driver(spawn(program, args, { env, stdio: "pipe" }));
  return sessionOf(driver);
}

/** A driver script at work: requests go out and answers come back as lines of JSON, in any order. */
class Driver {
  private readonly waiting = new Map<
    number,
    { resolve(result: unknown): void; reject(error: Error): void }
  >();
  private readonly ended: Promise<void>;
  private errors = "";
  private last = 0;

  constructor(private readonly child: ChildProcess) {
    child.stderr?.on("data", (data) => {
      this.errors += data;
    });
    // A write to a driver that has died fails here; the requests learn of it from the exit.
    child.stdin?.on("error", () => undefined);
    if (child.stdout) createInterface({ input: child.stdout }).on("line", (line) => this.answer(line));
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => this.fail(error.message, resolve));
      child.once("exit", (code) => this.fail(`the driver ended with ${code}\n${this.errors}`, resolve));
    });
  }

  /** Runs one of the driver's operations. What it returns is checked by the tests' expectations. */
  call<Result>(operation: string, args: unknown[], options?: object): Promise<Result> {
    this.last += 1;
    const id = this.last;
    return new Promise((resolve, reject) => {
      if (this.child.exitCode !== null)
        return reject(new ClientError(`the driver has ended\n${this.errors}`));
      this.waiting.set(id, { resolve: (result) => resolve(result as Result), reject });
      this.child.stdin?.write(`${JSON.stringify({ id, operation, args, options })}\n`);
    });
  }

  close(): Promise<void> {
    this.child.stdin?.end();
    const impatient = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    return this.ended.finally(() => clearTimeout(impatient));
  }

  private answer(line: string): void {
    const { id, result, error } = JSON.parse(line);
    if (error === undefined) this.waiting.get(id)?.resolve(result);
    else this.waiting.get(id)?.reject(new ClientError(error));
    this.waiting.delete(id);
  }

  private fail(reason: string, done: () => void): void {
    for (const { reject } of this.waiting.values()) reject(new ClientError(reason));
    this.waiting.clear();
    done();
  }
}

function sessionOf(driver: Driver): Session {
  const call = driver.call.bind(driver);
  return {
    create: (name, options = {}) => call("create", [name], options),
    createRefused: (name, refused) => call("createRefused", [name, refused]),
    exec: (name, command, options = {}) => call("exec", [name, command], options),
    terminal: (name, script, options) => call("terminal", [name, script], options),
    upload: (name, from, to) => call("upload", [name, from, to]),
    download: (name, from, to) => call("download", [name, from, to]),
    list: (labels) => call("list", [], { labels }),
    status: (name) => call("status", [name]),
    async follow(name) {
      await call("follow", [name]);
      return {
        waitFor: (text) => call("waitFor", [name, text]),
        ended: () => call("ended", [name]),
        close: async () => undefined,
      };
    },
    stop: (name) => call("stop", [name]),
    start: (name) => call("start", [name]),
    remove: (name) => call("remove", [name]),
    ephemeral: (name, script) => call("ephemeral", [name, script]),
    createVolume: (name) => call("createVolume", [name]),
    volumes: () => call("volumes", []),
    removeVolume: (name) => call("removeVolume", [name]),
    volumeFiles: (volume) => {
      const file =
        <Result>(operation: string) =>
        (...args: string[]) =>
          call<Result>("volumeFiles", [volume, operation, ...args]);
      return {
        write: file("write"),
        read: file("read"),
        list: file("list"),
        mkdir: file("mkdir"),
        copy: file("copy"),
        rename: file("rename"),
        size: file("size"),
        exists: file("exists"),
        removeFile: file("removeFile"),
        removeFolder: file("removeFolder"),
      };
    },
    snapshots: {
      create: (name, sandbox, labels = {}) => call("createSnapshot", [name, sandbox, labels]),
      list: () => call("snapshots", []),
      get: (called) => call("snapshot", [called]),
      restore: (called, name) => call("restore", [called, name]),
      remove: (called) => call("removeSnapshot", [called]),
    },
    identity: (name) => call("identity", [name]),
    resume: (name) => call("resume", [name]),
    close: () => driver.close(),
  };
}
