import { spawn } from "node:child_process";
import { join } from "node:path";
import { exec } from "../../../setup/exec";
import { type PythonClient, pythonClient } from "../../harness/clients";
import {
  type Captured,
  type Client,
  ClientError,
  clientEnvironment,
  knowsSnapshots,
  type Listed,
  type LogFollower,
  type Output,
  type Refused,
  type Session,
  type Snapshots,
} from "./session";

/** The msb command line at a version of the PyPI package, which carries it. Each call is a process of its own. */
export const msbCli = (version: string): Client => ({
  label: `msb CLI ${version}`,
  // In cloud mode the command line itself refuses -v NAME:/path: it means "create it if need be".
  mounts: false,
  snapshots: knowsSnapshots(version),
  refused: ["bind mount", "secret from the environment"],
  async open(endpoint, home) {
    const env = { PATH: process.env.PATH, ...clientEnvironment(endpoint, home) };
    return sessionOf(await pythonClient(version), env);
  },
});

const refusedFlags: Partial<Record<Refused, string[]>> = {
  "bind mount": ["--volume", "/etc:/x"],
  "secret from the environment": ["--secret", "HOME@example.com"],
};
const size = ["--cpus", "1", "--memory", "256M"];

/** `--flag key=value` for each. */
const pairs = (flag: string, values: Record<string, string> = {}) =>
  Object.entries(values).flatMap(([key, value]) => [flag, `${key}=${value}`]);

function sessionOf({ msb, python }: PythonClient, env: NodeJS.ProcessEnv): Session {
  /** Runs a program to its end, whatever the end is. */
  async function run(program: string, args: string[], stdin?: string): Promise<Output> {
    const input = stdin === undefined ? { stdin: "ignore" as const } : { input: stdin };
    const result = await exec(program, args, {
      ...{ env, extendEnv: false, reject: false, stripFinalNewline: false },
      ...input,
    });
    const { stdout, stderr } = result;
    return { exitCode: result.exitCode ?? -1, stdout: String(stdout ?? ""), stderr: String(stderr ?? "") };
  }

  /** Runs msb, for which nothing but 0 is a success. */
  async function ok(...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await run(msb, args);
    if (exitCode !== 0) throw new ClientError(`msb ${args.join(" ")} ended with ${exitCode}: ${stderr}`);
    return stdout;
  }

  async function list(labels?: Record<string, string>): Promise<Listed[]> {
    const rows: Listed[] = JSON.parse(await ok("ls", "--format", "json", ...pairs("--label", labels)));
    return rows.map(({ name, status }) => ({ name, status: status.toLowerCase() }));
  }

  const snapshots: Snapshots = {
    async create(name, sandbox, labels) {
      await ok("snapshot", "create", name, "--sandbox", sandbox, ...pairs("--label", labels));
    },
    async list() {
      const rows: (Captured & { snapshot_id: string })[] = JSON.parse(
        await ok("snapshot", "ls", "--format", "json"),
      );
      return rows.map(({ name, digest, reference, snapshot_id: id }) => ({ name, digest, reference, id }));
    },
    async get(called) {
      const shown = await ok("snapshot", "inspect", called);
      const field = (name: string) => new RegExp(`^${name}: +(\\S+)$`, "m").exec(shown)?.[1] ?? "";
      return {
        id: field("Snapshot ID"),
        digest: field("Descriptor Digest"),
        reference: field("Reference"),
      };
    },
    restore: async (called, name) => void (await ok("restore", called, "--name", name, ...size)),
    remove: async (called) => void (await ok("snapshot", "rm", called)),
  };

  return {
    snapshots,
    async create(name, { workdir, env: variables, labels } = {}) {
      const where = workdir ? ["--workdir", workdir] : [];
      const options = [...where, ...pairs("--env", variables), ...pairs("--label", labels)];
      await ok("create", "starter", "--name", name, ...size, ...options);
    },
    async createRefused(name, refused) {
      await ok("create", "starter", "--name", name, ...size, ...(refusedFlags[refused] ?? []));
    },
    exec(name, command, { stdin, cwd, env: variables } = {}) {
      const options = [...(cwd ? ["--workdir", cwd] : []), ...pairs("--env", variables)];
      return run(msb, ["exec", ...options, name, "--", ...command], stdin);
    },
    terminal(name, script, { rows, columns, line }) {
      const driver = [join(__dirname, "terminal.py"), String(rows), String(columns), line];
      return run(python, [...driver, msb, "exec", "--tty", name, "--", "sh", "-c", script]);
    },
    upload: async (name, from, to) => void (await ok("cp", "--quiet", from, `${name}:${to}`)),
    download: async (name, from, to) => void (await ok("cp", "--quiet", `${name}:${from}`, to)),
    list,
    async status(name) {
      const found = (await list()).find((each) => each.name === name);
      if (!found) throw new ClientError(`msb ls does not show ${name}: sandbox not found`);
      return found.status;
    },
    follow: async (name) => follow(msb, name, env),
    stop: async (name) => void (await ok("stop", name)),
    start: async (name) => void (await ok("start", name)),
    remove: async (name) => void (await ok("rm", name)),
    // Without a name: with one, the sandbox would stay.
    ephemeral: (_name, script) => run(msb, ["run", ...size, "starter", "--", "sh", "-c", script]),
    createVolume: async (name) => void (await ok("volume", "create", name)),
    async volumes() {
      return (await ok("volume", "ls", "--quiet")).split("\n").filter(Boolean);
    },
    removeVolume: async (name) => void (await ok("volume", "rm", name)),
    close: async () => undefined,
  };
}

/** `msb logs --follow`: ends by itself, with success, when the server ends the log. */
function follow(msb: string, name: string, env: NodeJS.ProcessEnv): LogFollower {
  const child = spawn(msb, ["logs", "--follow", name], { env, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  let errors = "";
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  child.stdout.on("data", (data) => {
    text += data;
    changed();
  });
  child.stderr.on("data", (data) => {
    errors += data;
  });
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  exit.then(changed);

  return {
    waitFor: (wanted) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const isThere = text.includes(wanted);
          if (!isThere && child.exitCode === null) return;
          listeners.delete(look);
          if (isThere) resolve();
          else reject(new ClientError(`msb logs ended before ${wanted}:\n${text}\n${errors}`));
        };
        listeners.add(look);
        look();
      }),
    async ended() {
      const code = await exit;
      if (code !== 0) throw new ClientError(`msb logs ended with ${code}: ${errors}`);
    },
    async close() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}
