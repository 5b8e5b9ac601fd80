import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ControlPlane } from "./control-plane";
import type { RunningPod, RunPod } from "./fake-kubelet";
import { fakeMsb, NodeProgram } from "./gateway";
import type { Pod } from "./pods";
import { removeFolder } from "./remove-folder";

type Container = Pod["spec"]["containers"][number];

/** The image's own variables and folders. */
const HOME = "/var/lib/microsandbox";
const WORKSPACE = "/workspace";
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Seconds that a process gets to end by itself. */
const STOP_SECONDS = 10;

/**
 * Runs the gateway in pods of the server's image as a process each, over the fake msb: with the environment, the secrets, the
 * volumes and the account that its pod asks for, and an address of its own, at which the names of a StatefulSet's pods are
 * found. Other pods run nothing.
 *
 * @example
 * const processes = new PodProcesses(cluster, bundledGateway);
 * const kubelet = await FakeKubelet.start(cluster, nodes, processes.run);
 */
export class PodProcesses {
  /** Short: paths of sockets have to fit. */
  private readonly folder = mkdtempSync(join(tmpdir(), "pods-"));
  private readonly preload = join(this.folder, "lookup.cjs");
  private readonly volumes = new Map<string, string>();
  private readonly hosts = new Map<string, string>();
  private made = 0;

  constructor(
    private readonly cluster: ControlPlane,
    private readonly script: string,
  ) {
    writeFileSync(this.preload, lookupFrom(this.hostsFile));
    this.tellHosts();
  }

  run: RunPod = async (pod, podAddress) => {
    const [container] = pod.spec.containers;
    if (container?.readinessProbe === undefined) return { isReady: () => true, stop: async () => undefined };
    const address = loopback(podAddress);
    const { metadata, spec } = pod;
    if (spec.subdomain && spec.hostname) {
      this.hosts.set(`${spec.hostname}.${spec.subdomain}.${metadata.namespace}.svc`, address);
      this.tellHosts();
    }
    const folders = await this.mount(pod, container);
    const program = NodeProgram.launch({
      script: this.script,
      nodeFlags: ["--require", this.preload],
      env: this.environment(pod, container, folders, address),
      log: join(this.folder, `${metadata.name}.log`),
    });
    return running(program, container, address);
  };

  /** What a pod's process has written to its log. */
  logOf = (name: string): string => join(this.folder, `${name}.log`);

  remove = (): Promise<void> => removeFolder(this.folder);

  private get hostsFile(): string {
    return join(this.folder, "hosts.json");
  }
  private tellHosts = () => writeFileSync(this.hostsFile, JSON.stringify(Object.fromEntries(this.hosts)));

  /** The folders of a pod's volumes, by the paths where it finds them. */
  private async mount(pod: Pod, { volumeMounts = [] }: Container): Promise<Record<string, string>> {
    const { metadata, spec } = pod;
    const folders: Record<string, string> = {};
    for (const { name, mountPath } of volumeMounts) {
      const volume = spec.volumes?.find((each) => each.name === name);
      const claim = volume?.persistentVolumeClaim?.claimName;
      folders[mountPath] = claim ? this.claimed(`${metadata.namespace}/${claim}`) : this.newFolder();
      if (!volume?.secret) continue;
      const path = `/api/v1/namespaces/${metadata.namespace}/secrets/${volume.secret.secretName}`;
      const { body } = await this.cluster.request("GET", path);
      for (const [file, text] of Object.entries<string>(body.data))
        writeFileSync(join(folders[mountPath] ?? "", file), Buffer.from(text, "base64"));
    }
    if (spec.automountServiceAccountToken !== false) folders[ACCOUNT] = await this.account(pod);
    return folders;
  }

  private async account({ metadata, spec }: Pod): Promise<string> {
    const folder = this.newFolder();
    const path = `/api/v1/namespaces/${metadata.namespace}/serviceaccounts/${spec.serviceAccountName}/token`;
    const { body } = await this.cluster.request("POST", path, { spec: {} });
    const files = { token: body.status.token, "ca.crt": this.cluster.ca, namespace: metadata.namespace };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return folder;
  }

  private environment(
    { metadata }: Pod,
    { env = [] }: Container,
    folders: Record<string, string>,
    address: string,
  ): Record<string, string> {
    const inFolder = (path: string) => {
      const mount = Object.keys(folders).find((each) => path === each || path.startsWith(`${each}/`));
      return mount === undefined ? path : `${folders[mount]}${path.slice(mount.length)}`;
    };
    const given = env.map(({ name, value = "", valueFrom }) => {
      const label = /^metadata\.labels\['(.+)'\]$/.exec(valueFrom?.fieldRef?.fieldPath ?? "")?.[1];
      return [name, label === undefined ? inFolder(value) : (metadata.labels?.[label] ?? "")];
    });
    return {
      ...{ MSB_PATH: fakeMsb, MSB_HOME: inFolder(HOME), WORKSPACE: inFolder(WORKSPACE), STARTER_ARCHIVE: "" },
      // Any device that everybody may open.
      ...{ KVM_DEVICE: "/dev/null", LISTEN_ADDRESS: address },
      ...{ KUBERNETES_API: this.cluster.url, KUBERNETES_ACCOUNT: inFolder(ACCOUNT) },
      ...Object.fromEntries(given),
    };
  }

  private claimed(key: string): string {
    const folder = this.volumes.get(key) ?? this.newFolder();
    this.volumes.set(key, folder);
    return folder;
  }
  private newFolder(): string {
    this.made += 1;
    const folder = join(this.folder, String(this.made));
    mkdirSync(folder);
    return folder;
  }
}

/** The address of this machine at which a pod's process listens: one that nobody else has. */
export const loopback = (podAddress: string): string => podAddress.replace(/^10\./, "127.");

/** A module that finds names where a file says, and others as before. */
const lookupFrom = (file: string): string => `
const dns = require("node:dns");
const { readFileSync } = require("node:fs");
const lookup = dns.lookup;
dns.lookup = (name, options, done) => {
  const address = JSON.parse(readFileSync(${JSON.stringify(file)}, "utf8"))[name];
  if (!address) return lookup(name, options, done);
  process.nextTick(() => options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4));
};
`;

function running(program: NodeProgram, container: Container, address: string): RunningPod {
  const { path, port, scheme } = container.readinessProbe?.httpGet ?? { path: "/", port: 0, scheme: "HTTP" };
  const send = scheme === "HTTPS" ? tlsRequest : plainRequest;
  const isReady = () =>
    new Promise<boolean>((resolve) => {
      const asked = send(
        { host: address, port, path, rejectUnauthorized: false, agent: false, timeout: 2_000 },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode === 200);
        },
      );
      asked.once("timeout", () => asked.destroy(new Error("no answer")));
      asked.once("error", () => resolve(false)).end();
    });
  const stop = async () => {
    program.child.kill("SIGTERM");
    const timer = setTimeout(() => program.child.kill("SIGKILL"), STOP_SECONDS * 1000);
    await program.ended;
    clearTimeout(timer);
  };
  return { isReady, stop };
}
