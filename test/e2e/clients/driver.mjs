// Drives the npm SDK for the tests: one JSON request a line on standard input, one JSON answer a line.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// The SDK is not beside this file but in the folder that the first argument names.
const resolved = createRequire(join(process.argv[2], "package.json")).resolve("microsandbox");
const { Sandbox, Volume } = await import(pathToFileURL(resolved).href);

/** The SDK ends a log stream of its own accord after 30 s; one that ends earlier is the server's fault. */
const OWN_LIMIT_MS = 25_000;

const sandboxes = new Map();
const followers = new Map();

const builder = (name) => Sandbox.builder(name).image("starter").cpus(1).memory(256).detached(true);

async function connected(name) {
  if (!sandboxes.has(name)) sandboxes.set(name, await (await Sandbox.get(name)).connect());
  return sandboxes.get(name);
}

const output = (result) => ({
  exitCode: result.code,
  stdout: result.stdout(),
  stderr: result.stderr(),
});

class Follower {
  cursor = undefined;
  text = "";

  constructor(name) {
    this.name = name;
  }

  async open() {
    this.opened = Date.now();
    const handle = await Sandbox.get(this.name);
    this.stream = await handle.logStream({ follow: true, fromCursor: this.cursor });
    return this;
  }

  async next() {
    for (;;) {
      try {
        return await this.stream.recv();
      } catch (error) {
        if (Date.now() - this.opened < OWN_LIMIT_MS) throw error;
        await this.open();
      }
    }
  }

  async waitFor(text) {
    while (!this.text.includes(text)) {
      const entry = await this.next();
      if (!entry) throw new Error(`the log ended before ${text}: ${this.text}`);
      this.cursor = entry.cursor;
      this.text += entry.text();
    }
  }

  async ended() {
    while (await this.next());
  }
}

const operations = {
  async create(name, { workdir, env = {}, labels = {}, volumes = {} }) {
    let sandbox = builder(name).envs(env);
    if (workdir) sandbox = sandbox.workdir(workdir);
    for (const [key, value] of Object.entries(labels)) sandbox = sandbox.label(key, value);
    for (const [path, volume] of Object.entries(volumes))
      sandbox = sandbox.volume(path, (mount) => mount.named(volume));
    sandboxes.set(name, await sandbox.create());
  },
  async createRefused(name, refused) {
    const sandbox =
      refused === "bind mount"
        ? builder(name).volume("/x", (mount) => mount.bind("/etc"))
        : builder(name).patch((patch) => patch.copyFile("/etc/hostname", "/x"));
    await sandbox.create();
  },
  async exec(name, command, { stdin, cwd, env = {} }) {
    const [program, ...args] = command;
    const sandbox = await connected(name);
    const result = await sandbox.execWith(program, (options) => {
      let chosen = options.args(args).envs(env);
      if (cwd) chosen = chosen.cwd(cwd);
      return stdin === undefined ? chosen : chosen.stdinBytes(Buffer.from(stdin));
    });
    return output(result);
  },
  async terminal(name, script, { rows, columns, line }) {
    const sandbox = await connected(name);
    const handle = await sandbox.execStreamWith("sh", (options) =>
      options.args(["-c", script]).tty(true).stdinPipe(),
    );
    const stdin = await handle.takeStdin();
    let text = "";
    let typed = false;
    for await (const event of handle) {
      if (event.kind === "exited") return { exitCode: event.code, stdout: text, stderr: "" };
      if (event.data) text += Buffer.from(event.data).toString();
      if (!text.includes("\n") || typed) continue;
      typed = true;
      await handle.resize(rows, columns);
      await stdin.write(`${line}\n`);
    }
    throw new Error(`the terminal ended without an exit code: ${text}`);
  },
  async upload(name, from, to) {
    await (await connected(name)).fs().write(to, await readFile(from));
  },
  async download(name, from, to) {
    await writeFile(to, await (await connected(name)).fs().read(from));
  },
  async list({ labels }) {
    const page = await (labels ? Sandbox.listWith((list) => list.labels(labels)) : Sandbox.list());
    return page.sandboxes.map(({ name, status }) => ({ name, status }));
  },
  async follow(name) {
    followers.set(name, await new Follower(name).open());
  },
  waitFor: (name, text) => followers.get(name).waitFor(text),
  ended: (name) => followers.get(name).ended(),
  /** Whether a stream that is opened again after the first entry goes on with the second one. */
  async resume(name) {
    const handle = await Sandbox.get(name);
    const stream = await handle.logStream({ follow: true });
    const first = await stream.recv();
    const second = await stream.recv();
    const again = await handle.logStream({ follow: true, fromCursor: first.cursor });
    return (await again.recv()).cursor === second.cursor;
  },
  async stop(name) {
    await (await Sandbox.get(name)).stop();
    sandboxes.delete(name);
  },
  async start(name) {
    sandboxes.set(name, await Sandbox.startDetached(name));
  },
  async remove(name) {
    sandboxes.delete(name);
    await Sandbox.remove(name);
  },
  async ephemeral(name, script) {
    const sandbox = await builder(name).ephemeral(true).create();
    const result = output(await sandbox.exec("sh", ["-c", script]));
    await sandbox.stop();
    return result;
  },
  status: async (name) => (await Sandbox.get(name)).status,
  identity: async (name) => (await Sandbox.get(name)).id,
  createVolume: async (name) => void (await Volume.builder(name).create()),
  volumes: async () => (await Volume.list()).map(({ name }) => name),
  removeVolume: (name) => Volume.remove(name),
  async volumeFiles(name, operation, ...args) {
    const fs = (await Volume.get(name)).fs();
    if (operation === "list")
      return (await fs.list(...args)).map(({ path }) => path.replace(/^\//, "")).sort();
    if (operation === "size") return (await fs.stat(...args)).size;
    const names = { read: "readToString", removeFile: "remove", removeFolder: "removeDir" };
    return fs[names[operation] ?? operation](...args);
  },
};

async function answer({ id, operation, args, options }) {
  const reply = { id };
  try {
    reply.result = (await operations[operation](...args, options ?? {})) ?? null;
  } catch (error) {
    reply.error = `${error.name}: ${error.message}`;
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

createInterface({ input: process.stdin })
  .on("line", (line) => void answer(JSON.parse(line)))
  .on("close", () => process.exit(0));
