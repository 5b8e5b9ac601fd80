import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "esbuild";
import { projectRoot } from "../../setup/project";
import { UserError } from "../../setup/user-error";
import { removeFolder } from "./remove-folder";
import { freePort } from "./stack";

const gatewayFolder = join(projectRoot, "docker/gateway");
export const fakeMsb = join(projectRoot, "bench/gateway/fake-msb.sh");

/**
 * Bundles the gateway as its own build does, into a file of the caller's.
 * @throws UserError if its packages are not installed
 */
export async function bundleGateway(outfile: string): Promise<void> {
  await bundle(join(gatewayFolder, "src/main.ts"), outfile);
}

/** Bundles a program with the gateway's packages and its esbuild settings. */
export async function bundle(entry: string, outfile: string): Promise<void> {
  const { scripts } = JSON.parse(readFileSync(join(gatewayFolder, "package.json"), "utf8"));
  const target = /--target=(\S+)/.exec(scripts.build)?.[1];
  try {
    await build({
      entryPoints: [entry],
      outfile,
      absWorkingDir: gatewayFolder,
      nodePaths: [join(gatewayFolder, "node_modules")],
      bundle: true,
      platform: "node",
      format: "cjs",
      target,
      minifySyntax: true,
      minifyWhitespace: true,
      lineLimit: 120,
      legalComments: "none",
      logLevel: "silent",
    });
  } catch (error) {
    throw new UserError(
      `${entry} could not be bundled: ${String(error)}\nIf packages are missing: npm ci --prefix docker/gateway`,
    );
  }
}

/** Where msb's relay of a sandbox listens, by the sandbox's id. */
export function agentSocketPath(home: string, id: string): string {
  const hash = createHash("sha256").update(id).digest("hex").slice(0, 24);
  return join(home, "run", "sandboxes", hash, "agent.sock");
}

/** A create body as a client of 0.7 sends it, as far as it matters. */
export const createBody = (name: string, change: Record<string, unknown> = {}) => ({
  source: "oci",
  reference: "starter",
  name,
  resources: { vcpus: 1, memory_mib: 64 },
  runtime: { workdir: "/tmp", shell: null, scripts: {}, entrypoint: null, cmd: null, user: null },
  env: [{ key: "GREETING", value: "hello" }],
  labels: { team: "bench" },
  rlimits: [],
  mounts: [],
  patches: [],
  network: { enabled: true, strict: true },
  init: null,
  pull_policy: "if_missing",
  security_profile: "default",
  lifecycle: { ephemeral: false, max_duration_secs: null, idle_timeout_secs: null },
  ...change,
});

/** An answer with its JSON body, or its text. */
export type Answer = { status: number; body: ReturnType<typeof JSON.parse> };

export type ProgramOptions = {
  /** The bundled program. */
  script: string;
  /** Its environment, besides PATH, HOME and NODE_ENV=production. */
  env?: Record<string, string>;
  /** Flags of node itself. */
  nodeFlags?: string[];
  arguments?: string[];
  /** File descriptors that it may have open; default: as many as this process. */
  descriptors?: number;
  /** A file that takes its output; default: nowhere. */
  log?: string;
};

const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** A node program in a process of its own: what it uses, and how it ends. */
export class NodeProgram {
  protected constructor(
    readonly child: ChildProcess,
    /** Resolves with the exit code, or the signal's name. */
    readonly ended: Promise<number | string>,
  ) {}

  /** Starts it; `ended` tells if that failed. */
  static launch(options: ProgramOptions): NodeProgram {
    const { script, env, nodeFlags = [], log, arguments: words = [], descriptors } = options;
    const output = log ? openSync(log, "a") : ("ignore" as const);
    const { PATH, HOME } = process.env;
    const limited = descriptors ? ["sh", "-c", 'ulimit -n "$0" && exec "$@"', String(descriptors)] : [];
    const [program, ...rest] = [...limited, process.execPath, ...nodeFlags, script, ...words];
    const child = spawn(program as string, rest, {
      env: { PATH, HOME, NODE_ENV: "production", ...env },
      stdio: ["ignore", output, output, "ipc"],
    });
    if (typeof output === "number") closeSync(output);
    children.add(child);
    const ended = new Promise<number | string>((resolve) => {
      child.once("error", (error) => resolve(String(error)));
      child.once("exit", (code, signal) => {
        children.delete(child);
        resolve(code ?? signal ?? "unknown");
      });
    });
    return new NodeProgram(child, ended);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }
  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Memory in RAM, MiB, now (VmRSS) or the most since its start (VmHWM). */
  memoryMib(which: "VmRSS" | "VmHWM" = "VmRSS"): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(new RegExp(`${which}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  }

  /** Open file descriptors: what leaks connections or files shows here. */
  openFiles = (): number => readdirSync(`/proc/${this.pid}/fd`).length;

  /** Ends it by SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

export type GatewayOptions = Omit<ProgramOptions, "env"> & {
  upWithinMs?: number;
  /** Its environment, besides what the fake msb needs. */
  env?: Record<string, string>;
  /** msb's home; default: a new one. */
  home?: string;
  port?: number;
};

/** The bundled gateway as a process on loopback, over the fake msb. */
export class GatewayProcess {
  private constructor(
    readonly program: NodeProgram,
    readonly home: string,
    readonly port: number,
  ) {}

  /** Starts it and waits until it answers. @throws Error if it ends or stays silent for `upWithinMs`, 30 s by default */
  static async start({
    env,
    home = newHome(),
    port,
    upWithinMs = 30_000,
    ...program
  }: GatewayOptions): Promise<GatewayProcess> {
    const workspace = join(home, "workspace");
    mkdirSync(workspace, { recursive: true });
    const chosen = port ?? (await freePort());
    const started = NodeProgram.launch({
      ...program,
      env: {
        ...{ PORT: String(chosen), LISTEN_ADDRESS: "127.0.0.1", DEV_MODE: "true", STARTER_ARCHIVE: "" },
        ...{ MSB_PATH: fakeMsb, MSB_HOME: home, WORKSPACE: workspace, LIMIT_SANDBOXES: "100000" },
        ...{ LIMIT_CPUS: "100000", LIMIT_MEMORY_MIB: "100000000", LIMIT_REQUESTS_PER_SECOND: "1000000" },
        ...{ LIMIT_CONNECTIONS: "100000", ...env },
      },
    });
    const gateway = new GatewayProcess(started, home, chosen);
    const deadline = Date.now() + upWithinMs;
    while (!(await gateway.answers())) {
      if (started.running && Date.now() < deadline) await sleep(20);
      else {
        const why = started.running ? "silent" : await started.ended;
        const said = program.log ? `:\n${readFileSync(program.log, "utf8").slice(-2000)}` : "";
        throw new Error(`the gateway did not come up (${why})${said}`);
      }
    }
    return gateway;
  }

  answers = (): Promise<boolean> =>
    fetch(`${this.url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** One request with a key. A gateway that is gone makes it throw. */
  async request(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: "Bearer msb_test",
        "user-agent": "microsandbox-sdk/0.7.11",
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    const json = answer.headers.get("content-type")?.includes("json");
    return { status: answer.status, body: json ? JSON.parse(text) : text };
  }

  /** Creates and starts a sandbox. @throws Error with the answer if it is not 200 */
  async create(name: string, change?: Record<string, unknown>): Promise<Answer["body"]> {
    const query = "start=true&wait_for=running&wait_timeout=90";
    const { status, body } = await this.request("POST", `/v1/sandboxes?${query}`, createBody(name, change));
    if (status !== 200) throw new Error(`create ${name}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** Ends it by SIGKILL and removes its home. */
  async remove(): Promise<void> {
    await this.program.kill();
    // msb processes that it had started may still be writing.
    await removeFolder(this.home);
  }
}

/** A new, short msb home: socket paths below it must fit in 107 bytes. */
export const newHome = (): string => mkdtempSync(join(tmpdir(), "gwp-"));
