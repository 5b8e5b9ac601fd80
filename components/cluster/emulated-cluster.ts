import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { dockerHost } from "../host/connection";
import { NO_CONTEXT } from "../host/docker-host";
import { hostNameOf, imageNameOf } from "../host/names";
import { packageRoot } from "../host/scripts";
import { SandboxImage } from "../image/sandbox-image";
import type { StackSettings } from "../settings/schema";
import { shellQuote } from "../settings/shell";
import { MIB } from "../settings/values";
import { EMULATED_CLUSTER } from "./recorded-cluster";

/** Port of each node that this machine's is forwarded to. */
export const EMULATED_NODE_PORT = 30_555;
/** The group of /dev/kvm on an emulated node. */
export const EMULATED_KVM_GROUP = 104;

export interface EmulatedClusterArgs {
  /** First part of the names of all that is deployed; the cluster is called by it. */
  baseName: string;
  /** Id of the deployment that uses it. A cluster that another one uses is not touched. */
  owner: pulumi.Input<string>;
  settings: StackSettings;
}

/**
 * A Kubernetes cluster of emulated nodes with KVM, in a network of its own on this machine, and the server's image on
 * each. What has died of it is noticed by the next preview or up, as with an emulated host.
 *
 * @example new EmulatedCluster("cluster", { baseName: "microsandbox-try", owner, settings })
 */
export class EmulatedCluster extends pulumi.ComponentResource {
  /** Path of the kubeconfig; unknown until the cluster runs. */
  readonly kubeconfig: pulumi.Output<string>;
  /** Reference of the server's image; known once all nodes have it. */
  readonly image: pulumi.Output<string>;
  /** What is deleted with all that is on the cluster. */
  readonly machines: pulumi.Resource;

  constructor(name: string, args: EmulatedClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super(EMULATED_CLUSTER, name, {}, opts);
    const { owner, settings } = args;
    const CLUSTER = hostNameOf(args.baseName);
    const tool = `bash ${shellQuote(`${packageRoot()}/emulated-host/cluster/emulated-cluster.sh`)}`;
    const status = command.local
      .runOutput(
        { command: `${tool} status "$CLUSTER"`, environment: { CLUSTER }, logging: "none" },
        { parent: this },
      )
      .stdout.apply((stdout) => JSON.parse(stdout) as Status);
    const ensure =
      `${tool} ensure "$CLUSTER" --port "$SERVER_PORT" --address "$SERVER_ADDRESS" --nodes "$NODES" ` +
      '--memory-mib "$MEMORY_MIB" --disk-gib "$DISK_GIB" --owner "$OWNER" --generation "$GENERATION"';
    const machines = new command.local.Command(
      `${name}-machines`,
      {
        ...{ create: ensure, update: ensure, delete: `${tool} delete "$CLUSTER" --owner "$OWNER"` },
        environment: {
          ...{ CLUSTER, OWNER: owner, SERVER_ADDRESS: settings.bindAddress },
          SERVER_PORT: String(settings.hostPort),
          NODES: String(settings.cluster.emulated?.nodes),
          MEMORY_MIB: String(Math.floor(settings.emulatedMemory / MIB)),
          DISK_GIB: String(Math.ceil(settings.emulatedDisk / MIB / 1024)),
          GENERATION: status.apply(({ wanted }) => String(wanted)),
        },
        logging: "stderr",
      },
      { parent: this },
    );
    this.machines = machines;
    this.kubeconfig = status.apply(({ running, kubeconfig }) =>
      running ? pulumi.output(kubeconfig) : machines.stdout.apply(() => kubeconfig),
    );
    this.image = this.load(name, args, `${tool} load-image ${CLUSTER}`, machines);

    this.registerOutputs({ kubeconfig: this.kubeconfig });
  }

  /** Builds the image with this machine's engine, and brings it to the nodes. */
  private load(
    name: string,
    { baseName, settings }: EmulatedClusterArgs,
    loader: string,
    machines: command.local.Command,
  ): pulumi.Output<string> {
    const builder = new docker.Provider(
      `${name}-builder`,
      { host: dockerHost({ kind: "local" }), context: NO_CONTEXT },
      { parent: this },
    );
    const { version, versionSha256, debianVersion, registryPrefix } = settings;
    const architecture = process.arch === "arm64" ? "arm64" : "amd64";
    const { reference, imageId } = new SandboxImage(
      `${name}-image`,
      {
        ...{ baseName: imageNameOf(baseName), architecture, version, versionSha256, debianVersion },
        registryPrefix,
      },
      { parent: this, providers: { docker: builder } },
    );
    const loaded = new command.local.Command(
      `${name}-load`,
      {
        create: pulumi.interpolate`set -o pipefail; docker save ${reference} | ${loader} ${reference}`,
        interpreter: ["bash", "-c"],
        // Nodes that were made anew have none.
        triggers: [reference, machines.stdout],
        logging: "stderr",
      },
      { parent: this, dependsOn: [machines] },
    );
    return pulumi.all([reference, imageId, loaded.stdout]).apply(([image]) => image);
  }
}

/** What `status` prints. */
interface Status {
  running: boolean;
  wanted: number;
  kubeconfig: string;
}
