import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import { stringify } from "yaml";
import type { Reporter } from "../../setup/report";
import { ensureClusterTools } from "../../setup/tools";
import { CertificateAuthority } from "./certificates";
import { removeFolder } from "./remove-folder";
import { freePort } from "./stack";

/** An answer of the API: an object of it, or a Status that says why not. */
export type ApiAnswer = { status: number; body: ReturnType<typeof JSON.parse> };

type Method = "GET" | "POST" | "PUT" | "DELETE";

/** The programs of {@link ControlPlane}. */
export const controlPlaneTools = ["etcd", "kube-apiserver"] as const;

const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/**
 * The API of a Kubernetes cluster on loopback: a real kube-apiserver with TLS and RBAC over a real etcd. There are no
 * controllers and no nodes: what a controller would make (a default ServiceAccount, the pods of a StatefulSet), a test
 * makes by itself.
 *
 * @example
 * const cluster = await ControlPlane.start(createReporter());
 * await cluster.request("GET", "/api/v1/namespaces");
 * await cluster.stop();
 */
export class ControlPlane {
  /** Token of a user in the group system:masters, who may do everything. */
  readonly token = randomBytes(16).toString("hex");
  /** Certificate of the authority that signed the server's, PEM. */
  readonly ca: string;
  /** A file with which kubectl and Pulumi reach the API as that user. */
  readonly kubeconfig: string;
  private readonly folder = mkdtempSync(join(tmpdir(), "control-plane-"));
  private readonly programs: Program[] = [];
  private readonly agent: Agent;

  private constructor(
    private readonly authority: CertificateAuthority,
    private readonly ports: { api: number; etcd: number; peers: number },
  ) {
    this.ca = authority.certificate;
    this.agent = new Agent({ connect: { ca: this.ca } });
    this.kubeconfig = this.file("kubeconfig");
    writeFileSync(this.kubeconfig, this.kubeconfigText(), { mode: 0o600 });
  }

  /**
   * Gets the programs where they are not there (minutes), starts them, and waits until the API is ready.
   * @param readyWithinMs for each of the two programs. Default: four minutes
   * @throws Error with the end of its log if a program ends or does not get ready in time; nothing of it stays
   */
  static async start(report: Reporter, readyWithinMs = 240_000): Promise<ControlPlane> {
    const tools = await ensureClusterTools(controlPlaneTools, report);
    const ports = { api: await freePort(), etcd: await freePort(), peers: await freePort() };
    const plane = new ControlPlane(new CertificateAuthority(), ports);
    try {
      await plane.startEtcd(tools.etcd, readyWithinMs);
      await plane.startApi(tools["kube-apiserver"], readyWithinMs);
      return plane;
    } catch (error) {
      await plane.stop();
      throw error;
    }
  }

  /** Base URL of the API. */
  get url(): string {
    return `https://127.0.0.1:${this.ports.api}`;
  }

  /** One request to the API, by default with the token of the one who may do everything. */
  async request(method: Method, path: string, body?: unknown, token = this.token): Promise<ApiAnswer> {
    const answer = await request(`${this.url}${path}`, {
      method,
      dispatcher: this.agent,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.body.text();
    const isJson = String(answer.headers["content-type"]).includes("json");
    return { status: answer.statusCode, body: isJson ? JSON.parse(text) : text };
  }

  /** Ends the programs by SIGKILL and removes their files. */
  async stop(): Promise<void> {
    await this.agent.destroy();
    for (const program of this.programs) await program.kill();
    this.authority.remove();
    await removeFolder(this.folder);
  }

  private file = (name: string): string => join(this.folder, name);

  private kubeconfigText(): string {
    const authority = Buffer.from(this.ca).toString("base64");
    const cluster = { server: this.url, "certificate-authority-data": authority };
    return stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: "admin", user: { token: this.token } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
      "current-context": "test",
    });
  }

  private async startEtcd(path: string, readyWithinMs: number): Promise<void> {
    const clients = `http://127.0.0.1:${this.ports.etcd}`;
    const peers = `http://127.0.0.1:${this.ports.peers}`;
    const etcd = this.launch(path, "etcd", [
      `--data-dir=${this.file("etcd")}`,
      `--listen-client-urls=${clients}`,
      `--advertise-client-urls=${clients}`,
      `--listen-peer-urls=${peers}`,
      `--initial-advertise-peer-urls=${peers}`,
      `--initial-cluster=default=${peers}`,
      // What is in it does not outlive the test.
      "--unsafe-no-fsync",
    ]);
    await etcd.ready(() => fetch(`${clients}/health`).then(({ ok }) => ok), readyWithinMs);
  }

  private async startApi(path: string, readyWithinMs: number): Promise<void> {
    const server = this.authority.issue("127.0.0.1", "serverAuth");
    const files = { "server.pem": server.cert, "server.key": server.key };
    const tokens = { "tokens.csv": `${this.token},admin,admin,system:masters\n` };
    for (const [name, text] of Object.entries({ ...files, ...tokens }))
      writeFileSync(this.file(name), text, { mode: 0o600 });
    const api = this.launch(path, "kube-apiserver", [
      `--etcd-servers=http://127.0.0.1:${this.ports.etcd}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${this.ports.api}`,
      // Without these it would look for an address of a default route, which a sandboxed machine may not have.
      "--advertise-address=127.0.0.1",
      "--endpoint-reconciler-type=none",
      `--tls-cert-file=${this.file("server.pem")}`,
      `--tls-private-key-file=${this.file("server.key")}`,
      `--cert-dir=${this.file("certificates")}`,
      `--token-auth-file=${this.file("tokens.csv")}`,
      // With RBAC alone a kubelet would be forbidden everything.
      "--authorization-mode=Node,RBAC",
      "--allow-privileged=true",
      "--service-cluster-ip-range=10.96.0.0/16",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${this.file("server.pem")}`,
      `--service-account-signing-key-file=${this.file("server.key")}`,
    ]);
    const answers = async (path: string) => (await this.request("GET", path)).status === 200;
    // The namespace comes a moment after.
    await api.ready(
      async () => (await answers("/readyz")) && (await answers("/api/v1/namespaces/default")),
      readyWithinMs,
    );
  }

  private launch(path: string, name: string, args: readonly string[]): Program {
    const program = new Program(path, name, args, this.file(`${name}.log`));
    this.programs.push(program);
    return program;
  }
}

/** A server in a process of its own, with a log. */
class Program {
  private readonly child: ChildProcess;
  /** Settles with how it ended; never rejects. */
  private readonly ended: Promise<string>;
  private end: string | undefined;

  constructor(
    path: string,
    private readonly name: string,
    args: readonly string[],
    private readonly log: string,
  ) {
    const output = openSync(log, "w");
    this.child = spawn(path, args, { stdio: ["ignore", output, output], cwd: tmpdir() });
    closeSync(output);
    children.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.once("error", (error) => resolve(error.message));
      this.child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
    });
    void this.ended.then((how) => {
      this.end = how;
      children.delete(this.child);
    });
  }

  /** Waits until `isReady` is true. @throws Error with the end of the log if the program ends or time is up */
  async ready(isReady: () => Promise<boolean>, withinMs: number): Promise<void> {
    const deadline = Date.now() + withinMs;
    while (!(await isReady().catch(() => false))) {
      const why = this.end ?? (Date.now() > deadline ? `not ready within ${withinMs / 1000} s` : undefined);
      if (why !== undefined)
        throw new Error(`${this.name} did not come up (${why}). Its log:\n${this.tail()}`);
      await sleep(100);
    }
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }

  private tail = (): string => readFileSync(this.log, "utf8").split("\n").slice(-20).join("\n");
}
