import { createReporter } from "../../setup/report";
import { type ApiAnswer, ControlPlane } from "./control-plane";
import { FakeKubelet, type RunPod } from "./fake-kubelet";
import { storageClass } from "./fake-storage";
import { PlainPulumi } from "./plain-pulumi";
import type { TestNode } from "./pods";

interface Named {
  metadata: { name: string; uid: string; generation?: number };
}

export interface TestClusterOptions {
  /** Makes what plays the containers of pods. Default: nothing runs, and all are ready */
  runPods?: (plane: ControlPlane) => RunPod;
  /** Default: true */
  controllers?: boolean;
}

/** A cluster on loopback, with nodes that are played and the storage classes `standard` and `fixed`. */
export class TestCluster {
  /** Pulumi for this cluster. @throws Error where it was started without */
  get pulumi(): PlainPulumi {
    if (!this.plain) throw new Error("this cluster was started without Pulumi");
    return this.plain;
  }
  private plain: PlainPulumi | undefined;

  private constructor(
    readonly plane: ControlPlane,
    readonly kubelet: FakeKubelet,
  ) {}

  static async start(
    nodes: readonly TestNode[],
    { runPods, controllers = true }: TestClusterOptions = {},
  ): Promise<TestCluster> {
    const plane = await ControlPlane.start(createReporter(), { controllers });
    try {
      const classes = [
        storageClass("standard", { isDefault: true }),
        storageClass("fixed", { expands: false }),
      ];
      for (const each of classes) await plane.request("POST", "/apis/storage.k8s.io/v1/storageclasses", each);
      return new TestCluster(plane, await FakeKubelet.start(plane, nodes, runPods?.(plane)));
    } catch (error) {
      await plane.stop();
      throw error;
    }
  }

  /** Gets Pulumi's Kubernetes plugin where it is not there (minutes). */
  static async withPulumi(...args: Parameters<typeof TestCluster.start>): Promise<TestCluster> {
    const cluster = await TestCluster.start(...args);
    try {
      cluster.plain = new PlainPulumi([], cluster.plane.kubeconfig);
      await cluster.plain.start();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** @throws what went wrong in the kubelet while nobody waited for it */
  async stop(): Promise<void> {
    this.plain?.remove();
    await this.kubelet.stop();
    await this.plane.stop();
    if (this.kubelet.faults.length > 0)
      throw new AggregateError(this.kubelet.faults, "the kubelet had faults");
  }

  /** @throws Error where the API does not answer with 200 */
  async get(path: string): Promise<ApiAnswer["body"]> {
    const { status, body } = await this.plane.request("GET", path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** An object, or all of a kind, of a namespace. @param path @example "apps/v1/statefulsets/servers", "secrets" */
  in(space: string, path: string): Promise<ApiAnswer["body"]> {
    const [, group = "", rest = path] = /^([^/]+\/v\d)\/(.+)$/.exec(path) ?? [];
    return this.get(`/${group ? `apis/${group}` : "api/v1"}/namespaces/${space}/${rest}`);
  }

  /** What there is of a kind in a namespace, in the order of the names. */
  async all(space: string, path: string): Promise<Named[]> {
    const { items }: { items: Named[] } = await this.in(space, path);
    return items.sort((one, other) => (one.metadata.name < other.metadata.name ? -1 : 1));
  }

  /** Namespaces besides those of each cluster. */
  async spaces(): Promise<string[]> {
    const { items }: { items: Named[] } = await this.get("/api/v1/namespaces");
    return items
      .map(({ metadata }) => metadata.name)
      .filter((name) => !/^(kube-|default$)/.test(name))
      .sort();
  }
}
