import { setTimeout as sleep } from "node:timers/promises";
import type { ApiAnswer, ControlPlane } from "./control-plane";
import { bindClaims } from "./fake-storage";
import { fits, type Pod, type TestNode } from "./pods";

/** What plays the containers of a pod. */
export interface RunningPod {
  isReady: () => boolean | Promise<boolean>;
  stop: () => Promise<void>;
}

/** @param address of the pod, as the API is told of it */
export type RunPod = (pod: Pod, address: string) => Promise<RunningPod>;

/** A pod that is ready at once, and runs nothing. */
const nothing: RunPod = async () => ({ isReady: () => true, stop: async () => undefined });

interface Known {
  address: string;
  node?: string;
  running?: RunningPod;
  /** What the API was told last. */
  told?: string;
}

const POLL_MS = 100;
/** Devices that our own plugin has for a node with KVM. */
const DEVICES = "1000";

/**
 * Scheduler and kubelets of a {@link ControlPlane} with controllers: it registers nodes, binds pods where they fit, and tells
 * that they run and are ready; claims get volumes. A pod with KVM_RESOURCE is our device plugin: a node with KVM has that resource
 * from then on.
 */
export class FakeKubelet {
  private readonly pods = new Map<string, Known>();
  private readonly closing = new AbortController();
  private looping: Promise<void> = Promise.resolve();
  private addresses = 0;
  /** What has gone wrong while nobody waited for it. */
  readonly faults: unknown[] = [];

  private constructor(
    private readonly cluster: ControlPlane,
    private readonly nodes: readonly TestNode[],
    private readonly run: RunPod,
  ) {}

  static async start(
    cluster: ControlPlane,
    nodes: readonly TestNode[],
    run: RunPod = nothing,
  ): Promise<FakeKubelet> {
    const kubelet = new FakeKubelet(cluster, nodes, run);
    for (const [index, node] of nodes.entries()) await kubelet.register(node, index);
    kubelet.looping = kubelet.loop();
    return kubelet;
  }

  /** Stops what runs; the nodes and pods stay in the API. */
  async stop(): Promise<void> {
    this.closing.abort();
    await this.looping;
    await Promise.all([...this.pods.values()].map(({ running }) => running?.stop()));
  }

  private register({ name, labels = {}, allocatable = {} }: TestNode, index: number): Promise<ApiAnswer> {
    const has = { cpu: "16", memory: "64Gi", pods: "110", ...allocatable };
    const conditions = [{ type: "Ready", status: "True", reason: "KubeletReady" }];
    // Nobody has it: it is of the range for examples.
    const addresses = [{ type: "InternalIP", address: `192.0.2.${index + 1}` }];
    return this.cluster.request("POST", "/api/v1/nodes", {
      metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
      status: { capacity: has, allocatable: has, conditions, addresses },
    });
  }

  private async loop(): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      await this.turn().catch((error) => this.faults.push(error));
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private async turn(): Promise<void> {
    await bindClaims(this.cluster);
    const { body } = await this.cluster.request("GET", "/api/v1/pods");
    const pods: Pod[] = body.items;
    for (const [uid, { running }] of this.pods)
      if (!pods.some(({ metadata }) => metadata.uid === uid)) {
        this.pods.delete(uid);
        await running?.stop();
      }
    await Promise.all(pods.map((pod) => this.attend(pod)));
  }

  private async attend(pod: Pod): Promise<void> {
    const { uid, deletionTimestamp } = pod.metadata;
    const known = this.pods.get(uid) ?? { address: this.nextAddress() };
    this.pods.set(uid, known);
    if (deletionTimestamp !== undefined) return this.end(pod, known);
    if (pod.spec.nodeName === undefined) return this.schedule(pod, known);
    const node = this.nodes.find(({ name }) => name === pod.spec.nodeName);
    if (!node) return;
    known.running ??= await this.run(pod, known.address);
    await this.advertise(pod, node);
    return this.tell(pod, known, runs(pod, known.address, await known.running.isReady()));
  }

  private async schedule(pod: Pod, known: Known): Promise<void> {
    const { body } = await this.cluster.request("GET", "/api/v1/nodes");
    const used = (node: string) => [...this.pods.values()].filter((each) => each.node === node).length;
    const { node, why } = fits(pod, body.items, used);
    if (node === undefined) {
      const reason = { type: "PodScheduled", status: "False", reason: "Unschedulable", message: why };
      return this.tell(pod, known, { phase: "Pending", conditions: [reason] });
    }
    known.node = node;
    const { name, namespace } = pod.metadata;
    const target = { apiVersion: "v1", kind: "Node", name: node };
    await this.cluster.request("POST", `/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
      ...{ apiVersion: "v1", kind: "Binding" },
      ...{ metadata: { name, namespace }, target },
    });
  }

  /** As the device manager of a kubelet does once a plugin has registered. */
  private async advertise({ spec }: Pod, { name, kvm }: TestNode): Promise<void> {
    const resource = spec.containers[0]?.env?.find((each) => each.name === "KVM_RESOURCE")?.value;
    if (resource === undefined || !kvm) return;
    const { body } = await this.cluster.request("GET", `/api/v1/nodes/${name}`);
    if (body.status.allocatable[resource] !== undefined) return;
    const devices = { [resource]: DEVICES };
    const status = { capacity: devices, allocatable: devices };
    await this.cluster.request("PATCH", `/api/v1/nodes/${name}/status`, { status });
  }

  private async end({ metadata }: Pod, known: Known): Promise<void> {
    await known.running?.stop();
    known.running = undefined;
    const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
    const preconditions = { uid: metadata.uid };
    await this.cluster.request("DELETE", path, { gracePeriodSeconds: 0, preconditions });
  }

  private async tell(pod: Pod, known: Known, status: object): Promise<void> {
    const text = JSON.stringify(status);
    if (known.told === text) return;
    const { name, namespace } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/status`;
    const { status: code } = await this.cluster.request("PATCH", path, { status });
    if (code === 200) known.told = text;
  }

  private nextAddress(): string {
    this.addresses += 1;
    return `10.244.${this.addresses >> 8}.${this.addresses & 255}`;
  }
}

const image = ({ spec }: Pod) => ({ name: spec.containers[0]?.name, image: spec.containers[0]?.image });

function runs(pod: Pod, podIP: string, ready: boolean) {
  const since = pod.metadata.creationTimestamp;
  const condition = (type: string, holds: boolean) => ({ type, status: holds ? "True" : "False" });
  return {
    phase: "Running",
    ...{ hostIP: "10.0.0.1", podIP, podIPs: [{ ip: podIP }], startTime: since },
    conditions: [
      ...["PodScheduled", "Initialized"].map((type) => condition(type, true)),
      ...["ContainersReady", "Ready"].map((type) => condition(type, ready)),
    ],
    containerStatuses: [
      {
        ...{ ...image(pod), imageID: "fake", ready, started: true, restartCount: 0 },
        state: { running: { startedAt: since } },
      },
    ],
  };
}
