import { randomBytes } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { stringify } from "yaml";
import type { Reporter } from "../../setup/report";
import { ensureClusterTools } from "../../setup/tools";
import { CertificateAuthority } from "./certificates";
import { Program } from "./program";
import { removeFolder } from "./remove-folder";
import { freePort } from "./stack";

/** An answer of the API: an object of it, or a Status that says why not. */
export type ApiAnswer = { status: number; body: ReturnType<typeof JSON.parse> };

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** The programs of {@link ControlPlane}, and those that it has with `controllers`. */
export const controlPlaneTools = ["etcd", "kube-apiserver"] as const;
export const controllerTools = ["kube-controller-manager"] as const;

export interface ControlPlaneOptions {
  /**
   * Whether objects are followed by those that they ask for: the pods of a StatefulSet, the account of a namespace, the end
   * of all that is in one. Default: false
   */
  controllers?: boolean;
  /** For each of the programs. Default: four minutes */
  readyWithinMs?: number;
}

/** The contexts of the kubeconfig file: who may do everything, who may do nothing, and a cluster that does not answer. */
export const contexts = { admin: "test", stranger: "stranger", gone: "gone" } as const;

/** What follows the objects of a stack. Whether nodes are alive nobody asks: they are a test's. */
const CONTROLLERS = [
  ...["deployment", "replicaset", "statefulset", "daemonset", "disruption", "endpoints", "endpointslice"],
  ...["namespace", "serviceaccount", "root-ca-certificate-publisher", "garbage-collector"],
  "persistentvolumeclaim-protection",
].map((name) => `${name}-controller`);

/**
 * The API of a Kubernetes cluster on loopback: a real kube-apiserver with TLS and RBAC over a real etcd. There are no
 * nodes (fake-kubelet.ts plays them) and, unless they are asked for, no controllers: what one would make, a test makes by
 * itself.
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
  /** A file with which kubectl and Pulumi reach the API as that user; it has more {@link contexts}. */
  readonly kubeconfig: string;
  private readonly folder = mkdtempSync(join(tmpdir(), "control-plane-"));
  private readonly programs: Program[] = [];
  private readonly agent: Agent;

  private readonly stranger = randomBytes(16).toString("hex");

  private constructor(
    private readonly authority: CertificateAuthority,
    private readonly ports: { api: number; etcd: number; peers: number; controllers: number },
  ) {
    this.ca = authority.certificate;
    this.agent = new Agent({ connect: { ca: this.ca } });
    this.kubeconfig = this.file("kubeconfig");
    writeFileSync(this.kubeconfig, this.kubeconfigText(), { mode: 0o600 });
  }

  /**
   * Gets the programs where they are not there (minutes), starts them, and waits until the API is ready.
   * @throws Error with the end of its log if a program ends or does not get ready in time; nothing of it stays
   */
  static async start(
    report: Reporter,
    { controllers = false, readyWithinMs = 240_000 }: ControlPlaneOptions = {},
  ): Promise<ControlPlane> {
    const [etcd, api] = controlPlaneTools;
    const [manager] = controllerTools;
    const tools = await ensureClusterTools([etcd, api], report);
    const follow = controllers ? await ensureClusterTools([manager], report) : undefined;
    const ports = {
      ...{ api: await freePort(), etcd: await freePort() },
      ...{ peers: await freePort(), controllers: await freePort() },
    };
    const plane = new ControlPlane(new CertificateAuthority(), ports);
    try {
      await plane.startEtcd(tools.etcd, readyWithinMs);
      await plane.startApi(tools["kube-apiserver"], readyWithinMs);
      if (follow) await plane.startControllers(follow[manager], readyWithinMs);
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
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
      },
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
    const cluster = (server: string) => ({ server, "certificate-authority-data": authority });
    const { admin, stranger, gone } = contexts;
    return stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        { name: admin, cluster: cluster(this.url) },
        // A port that nobody listens on.
        { name: gone, cluster: cluster("https://127.0.0.1:1") },
      ],
      users: [
        { name: admin, user: { token: this.token } },
        { name: stranger, user: { token: this.stranger } },
      ],
      contexts: [
        { name: admin, context: { cluster: admin, user: admin } },
        { name: stranger, context: { cluster: admin, user: stranger } },
        { name: gone, context: { cluster: gone, user: admin } },
      ],
      "current-context": admin,
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
    const tokens = `${this.token},admin,admin,system:masters\n${this.stranger},stranger,stranger\n`;
    for (const [name, text] of Object.entries({ ...files, "ca.pem": this.ca, "tokens.csv": tokens }))
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
      // Nobody would take the taint of a new node away.
      "--disable-admission-plugins=TaintNodesByCondition",
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

  private async startControllers(path: string, readyWithinMs: number): Promise<void> {
    const manager = this.launch(path, "kube-controller-manager", [
      `--kubeconfig=${this.kubeconfig}`,
      `--controllers=${CONTROLLERS.join(",")}`,
      "--leader-elect=false",
      // A test waits for it.
      ...["--kube-api-qps=500", "--kube-api-burst=1000", "--min-resync-period=1h"],
      ...["--bind-address=127.0.0.1", `--secure-port=${this.ports.controllers}`],
      `--cert-dir=${this.file("certificates")}`,
      `--root-ca-file=${this.file("ca.pem")}`,
    ]);
    const account = "/api/v1/namespaces/default/serviceaccounts/default";
    await manager.ready(async () => (await this.request("GET", account)).status === 200, readyWithinMs);
  }

  private launch(path: string, name: string, args: readonly string[]): Program {
    const program = new Program(path, name, args, this.file(`${name}.log`));
    this.programs.push(program);
    return program;
  }
}
