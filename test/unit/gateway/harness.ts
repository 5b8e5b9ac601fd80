import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createGateway, type Gateway } from "../../../docker/gateway/src/app";
import { agentSocketPath } from "../../../docker/gateway/src/backends/msb/agent-socket";
import type { MsbBackend } from "../../../docker/gateway/src/backends/msb/backend";
import { readConfig } from "../../../docker/gateway/src/config";
import { atFileEnd } from "../../harness/file-end";
import { removeFolder } from "../../harness/remove-folder";

export const FAKE_MSB = join(__dirname, "fake-msb.sh");
export const NEW_CLIENT = "microsandbox-sdk/0.7.11";
export const OLD_CLIENT = "microsandbox-sdk/0.6.18";

/** A create body as the msb 0.7.11 command line sends it. */
export const newBody = (name: string, change: Record<string, unknown> = {}) => ({
  source: "oci",
  name,
  runtime: {
    workdir: null,
    shell: null,
    scripts: {},
    entrypoint: null,
    cmd: null,
    user: null,
    log_level: null,
  },
  env: [],
  labels: {},
  rlimits: [],
  mounts: [],
  network: { enabled: true, strict: true },
  init: null,
  security_profile: "default",
  lifecycle: { ephemeral: false, max_duration_secs: null, idle_timeout_secs: null },
  reference: "starter",
  resources: { vcpus: 1, memory_mib: 64 },
  patches: [],
  pull_policy: "if_missing",
  ...change,
});

/** The same as 0.6.18 sends it. */
export const oldBody = (name: string, change: Record<string, unknown> = {}) => {
  const { source: _source, reference, ...rest } = newBody(name);
  return { ...rest, image: { type: "oci", reference }, network: { enabled: true, strict: false }, ...change };
};

/** A create body as the official clients send it for a sandbox that starts from a snapshot. */
export const restoreBody = (name: string, id: string, change: object = {}) => {
  const { reference: _reference, ...rest } = newBody(name);
  return { ...rest, source: "disk_snapshot", disk_snapshot_ref: { type: "managed", id }, ...change };
};

export const START = "start=true&wait_for=running&wait_timeout=90";

export type Answer = { status: number; body: ReturnType<typeof JSON.parse>; headers: Headers };
export type RequestOptions = { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal };

/** A folder that is removed when the test file is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gw-"));
  atFileEnd(() => removeFolder(folder));
  return folder;
}

/** A gateway on a free port over the fake msb, and its client. */
export class TestGateway {
  private constructor(
    readonly gateway: Gateway & { backend: MsbBackend },
    readonly home: string,
    readonly url: string,
  ) {}

  static async start(
    env: Record<string, string> = {},
    home = temporaryFolder(),
    { resume = true } = {},
  ): Promise<TestGateway> {
    const workspace = join(home, "workspace");
    await mkdir(workspace, { recursive: true });
    const config = readConfig({
      ...{ MSB_PATH: FAKE_MSB, MSB_HOME: home, WORKSPACE: workspace, STARTER_ARCHIVE: "", DEV_MODE: "true" },
      ...{ LOG_LEVEL: "silent", LIMIT_CPUS: "64", LIMIT_MEMORY_MIB: "65536", STOP_TIMEOUT_SECONDS: "5" },
      ...env,
    });
    const gateway = (await createGateway(config)) as Gateway & { backend: MsbBackend };
    await gateway.app.listen({ port: 0, host: "127.0.0.1" });
    if (resume) await gateway.backend.resume();
    const { port } = gateway.app.server.address() as AddressInfo;
    const started = new TestGateway(gateway, home, `http://127.0.0.1:${port}`);
    atFileEnd(() => started.close());
    return started;
  }

  async request(
    method: string,
    path: string,
    { body, headers, signal }: RequestOptions = {},
  ): Promise<Answer> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      signal,
      headers: {
        authorization: "Bearer msb_test",
        "user-agent": NEW_CLIENT,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    const json = answer.headers.get("content-type")?.includes("json");
    return { status: answer.status, headers: answer.headers, body: json ? JSON.parse(text) : text };
  }

  create = (name: string, change?: Record<string, unknown>, query = START) =>
    this.request("POST", `/v1/sandboxes?${query}`, { body: newBody(name, change) });
  get = (path: string, headers?: Record<string, string>) => this.request("GET", path, { headers });
  post = (path: string, body: unknown = {}) => this.request("POST", path, { body });
  delete = (path: string) => this.request("DELETE", path);

  /** The command lines and environments of all creates, as text. */
  calls = (): string => readFileSync(join(this.home, "fake", "calls.log"), "utf8");
  /** The scripts of the last create. */
  scripts = (): string => readFileSync(join(this.home, "fake", "scripts"), "utf8");

  /** What the fake msb knows of a sandbox, by its client's name. */
  made(name: string): { status: string; conf: ReturnType<typeof JSON.parse> } | undefined {
    const handle = handleOf(this.home, name);
    try {
      const read = (what: string) =>
        readFileSync(join(this.home, "fake", "sandboxes", `${handle}.${what}`), "utf8");
      return { status: read("status").trim(), conf: JSON.parse(read("conf")) };
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.gateway.app.close();
  }
}

/** What msb calls a sandbox or a volume, by its client's name; the name itself where no record has it. */
export function handleOf(home: string, name: string, kind: "sandboxes" | "volumes" = "sandboxes"): string {
  const folder = join(home, "gateway", kind);
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".json")) : [];
  for (const file of files) {
    const text = readIfThere(join(folder, file));
    const record = text === undefined ? undefined : JSON.parse(text);
    if (record?.name === name) return record.handle ?? record.name;
  }
  return name;
}

/** Undefined for a file that has just gone. */
function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Listens where msb's relay of a sandbox would. */
export async function fakeAgent(
  home: string,
  name: string,
  serve: (socket: Socket) => void,
): Promise<Server> {
  const path = agentSocketPath(home, handleOf(home, name));
  await mkdir(dirname(path), { recursive: true });
  const server = createServer({ allowHalfOpen: true }, serve);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  atFileEnd(() => server.close());
  return server;
}

/** Waits until something holds. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 5000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
