#!/usr/bin/env node
// Stands in for msb where no microVM can boot: the commands that the gateway uses, with msb's
// own sentences and exit codes. State lives below MSB_HOME/fake; an image named "broken" does
// not boot, one named "absent" is not there, "slow" takes a second.
const fs = require("node:fs");
const { join } = require("node:path");

const home = process.env.MSB_HOME;
const fake = join(home, "fake");
const [command, ...rest] = process.argv.slice(2);
for (const folder of ["sandboxes", "volumes"]) fs.mkdirSync(join(fake, folder), { recursive: true });
fs.appendFileSync(
  join(fake, "calls.log"),
  `${JSON.stringify({ args: process.argv.slice(2), env: Object.keys(process.env) })}\n`,
);

const fail = (message, code = 1) => {
  process.stderr.write(`error: ${message}\n`);
  process.exit(code);
};
const flag = (name) => rest[rest.indexOf(name) + 1];
const has = (name) => rest.includes(name);
const last = () => rest[rest.length - 1];
const path = (kind, name) => join(fake, kind, `${name}.json`);
const read = (kind, name) => {
  try {
    return JSON.parse(fs.readFileSync(path(kind, name), "utf8"));
  } catch {
    return undefined;
  }
};
const write = (kind, name, value) => {
  const temporary = `${path(kind, name)}.${process.pid}`;
  fs.writeFileSync(temporary, JSON.stringify(value));
  fs.renameSync(temporary, path(kind, name));
};
const all = (kind) =>
  fs
    .readdirSync(join(fake, kind))
    .flatMap((file) => (file.endsWith(".json") ? (read(kind, file.slice(0, -5)) ?? []) : []));
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const logs = (name) => join(home, "sandboxes", name, "logs");
const say = (name, source, text) =>
  fs.appendFileSync(
    join(logs(name), "exec.log"),
    `${JSON.stringify({ t: new Date().toISOString(), s: source, d: text })}\n`,
  );
const sandbox = (name) => read("sandboxes", name) ?? fail(`sandbox not found: ${name}`);

function create() {
  const name = flag("--name");
  const conf = JSON.parse(fs.readFileSync(flag("--conf"), "utf8"));
  const reference = conf.image.oci;
  if (read("sandboxes", name)) fail(`sandbox already exists: ${name}`);
  if (reference === "absent" || (conf.pull_policy === "never" && reference === "uncached"))
    fail(`image error: image not cached: docker.io/library/${reference}:latest`);
  const scripts = rest.flatMap((arg, i) => (arg === "--script-path" ? [rest[i + 1]] : []));
  const made = { name, status: "Starting", created_at: new Date().toISOString(), image: reference, conf };
  made.scripts = Object.fromEntries(
    scripts.map((each) => [each.split(":")[0], fs.readFileSync(each.slice(each.indexOf(":") + 1), "utf8")]),
  );
  write("sandboxes", name, made);
  if (reference === "slow") sleep(1000);
  if (reference === "broken") {
    write("sandboxes", name, { ...made, status: "Stopped" });
    fail(
      `failed to start "${name}"\n  → other: sandbox process exited (exit status: 1)\n  → run \`msb logs\``,
    );
  }
  fs.mkdirSync(logs(name), { recursive: true });
  say(name, "system", "--- sandbox started ---\n");
  write("sandboxes", name, { ...made, status: "Running" });
}

function change(name, status) {
  write("sandboxes", name, { ...sandbox(name), status });
  say(name, "system", `--- sandbox ${status === "Running" ? "started" : "stopped"} ---\n`);
}

const commands = {
  "--version": () => process.stdout.write("msb 0.7.11\n"),
  ls: () => print(all("sandboxes").map(({ conf: _conf, scripts: _scripts, ...row }) => row)),
  inspect: () => {
    const { name, conf, status } = sandbox(last());
    const { cpus = 1, memory = "512M", workdir = "/image", shell = null, user = null, labels = {} } = conf;
    const runtime = { workdir, shell, user, entrypoint: null, cmd: ["/bin/sh"] };
    const image = { Oci: { reference: conf.image.oci } };
    const resources = { cpus, memory_mib: Number.parseInt(memory, 10) };
    print({ name, status, config: { image, resources, runtime, labels } });
  },
  create,
  start: () => {
    if (sandbox(last()).conf.env?.FAIL_START) fail(`failed to start "${last()}"\n  → other: no memory`);
    change(last(), "Running");
  },
  stop: () => {
    const { conf } = sandbox(last());
    if (conf.env?.SLOW_STOP) sleep(Number(conf.env.SLOW_STOP));
    change(last(), "Stopped");
  },
  rm: () => {
    sandbox(last());
    fs.rmSync(path("sandboxes", last()));
    fs.rmSync(join(home, "sandboxes", last()), { recursive: true, force: true });
  },
  image: () => print([{ reference: "starter" }]),
  load: () => undefined,
  volume: () => {
    const [action] = rest;
    if (action === "ls") return print(all("volumes"));
    const name = action === "create" ? flag("--name") : last();
    if (action === "create") {
      if (read("volumes", name)) fail(`volume already exists: ${name}`);
      fs.mkdirSync(join(home, "volumes", name), { recursive: true });
      const kind = has("--kind") ? flag("--kind") : "dir";
      return write("volumes", name, { name, kind, created_at: new Date().toISOString(), used_bytes: 0 });
    }
    if (!read("volumes", name)) fail(`volume not found: ${name}`);
    fs.rmSync(path("volumes", name));
    fs.rmSync(join(home, "volumes", name), { recursive: true, force: true });
  },
};
(commands[command] ?? (() => fail(`unrecognized subcommand '${command}'`, 2)))();
