import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { deploymentId, readState, recordedOf } from "../host/deployment";
import { baseNameOf } from "../host/names";
import { madeApiKey, requireKey, takesMadeKey } from "../server/api-key";
import { ownCertificate } from "../server/certificate";
import { keyLines } from "../server/key-file";
import { Protection } from "../server/protection";
import { givenCertificate } from "../server/tls";
import type { StackSettings } from "../settings/schema";
import { hasTls } from "../settings/tls";
import { clusterProvider } from "./cluster-provider";
import { devicePlugin, devicesNamespace } from "./devices";
import { EMULATED_KVM_GROUP, EMULATED_NODE_PORT, EmulatedCluster } from "./emulated-cluster";
import { endpointOf, routerAddress } from "./endpoint";
import { names, serverHost } from "./layout";
import { namespaceLabels, namespaceMeta, namespaceOf } from "./namespaces";
import { pods, routerService } from "./objects";
import { clusterPreflight, withKubeconfig } from "./preflight";
import { recordedCluster } from "./recorded-cluster";

/**
 * A private sandbox service on a Kubernetes cluster: servers on nodes with KVM, each with volumes of its own, and routers
 * before them that are one endpoint. All of it is in one namespace, which no other stack may have; the device plugin is
 * in a second one, since it needs what the first forbids.
 *
 * @example new SandboxCluster("sandboxes", parseSettings({ cluster: { servers: 3 }, serverImage: "…" }))
 */
export class SandboxCluster extends pulumi.ComponentResource {
  /** URL of the routers. */
  readonly endpoint: pulumi.Output<string>;
  /** The API key, a secret: the setting `apiKey` or the generated one; empty if only `keys` is set. */
  readonly apiKey: pulumi.Output<string>;
  /** CA certificate for clients to trust, PEM; empty without `tls.generate`. */
  readonly caCertificate: pulumi.Output<string>;
  /** Name of the namespace. */
  readonly namespace: pulumi.Output<string>;

  constructor(name: string, settings: StackSettings, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:SandboxCluster", name, {}, opts);
    const owner = { project: pulumi.getProject(), stack: pulumi.getStack() };
    const namespace = settings.cluster.namespace ?? namespaceOf(baseNameOf(name, owner));
    const deployment = deploymentId(name, this);
    const own = deployment.apply((id) => namespaceLabels(id));
    const on = clusterOf(name, settings, { baseName: baseNameOf(name, owner), deployment, parent: this });
    const { cluster, image } = on;
    const namespaces = [namespace, devicesNamespace(settings, namespace)] as const;
    // Not the output: in the first preview that is not known, and nothing would be checked.
    const state = pulumi.output(readState());
    const recorded = {
      own: state.apply((all) => namespaceLabels(recordedOf(name, all).deployment ?? "")),
      before: state.apply((all) => recordedCluster(name, all)),
    };
    const report = clusterPreflight(
      { ...settings, ...cluster, ...on.kubectl, ...recorded, namespaces },
      this,
    );
    // The context by its name from then on: a later run, and a destroy, must not follow the current one elsewhere.
    const kubectl = { ...on.kubectl, context: report.apply(({ context }) => context) };
    const provider = clusterProvider(
      `${name}-provider`,
      kubectl,
      report.apply((answer) => answer.cluster),
      this,
    );
    const child = { parent: this, provider, deletedWith: on.machines };
    const here = { ...settings, cluster };
    const devices = devicePlugin(name, { settings: here, kubectl, image, namespace, own, child });
    const space = new kubernetes.core.v1.Namespace(
      `${name}-namespace`,
      { metadata: namespaceMeta(namespace, own, "restricted") },
      // The claims are in it.
      { ...child, retainOnDelete: settings.volumes.keep, dependsOn: devices },
    );
    // Not below it: what is would be kept with it, whatever its own options say (pulumi 3.259).
    const inside = { ...child, dependsOn: [space] };

    const generated = takesMadeKey(settings)
      ? madeApiKey(`${name}-api-key`, settings.keys.length === 0, this)
      : "";
    const apiKey = pulumi.output(settings.apiKey ?? generated);
    const keys = apiKey.apply((key) => {
      requireKey(settings.keys, key);
      return keyLines({ apiKey: key, keys: settings.keys }).join("\n");
    });
    const peers = ownCertificate(
      `${name}-peers`,
      {
        authorityName: `${namespace} servers`,
        names: [serverHost("*", namespace).replace(`${names.servers}-`, "")],
        usage: "serverAuth,clientAuth",
      },
      this,
    );
    const service = routerService(name, here, namespace, inside);
    const address = routerAddress(here, { report, namespace, service });
    const tls = certificateOf(`${name}-tls`, settings, { namespace, address, parent: this });
    const secrets = {
      [names.keys]: { keys },
      [names.peers]: { "tls.pem": peers.pem, "ca.pem": peers.authority },
      ...(tls ? { [names.tls]: { "tls.pem": tls.pem } } : {}),
    };
    const inNamespace = pods(name, {
      ...{ settings: here, kubectl, ports: report.apply(({ ports }) => ports), image },
      ...{ namespace, secrets, space: inside },
    });

    const all = [space, service, ...inNamespace.resources, ...devices];
    new Protection(`${name}-protection`, { protect: settings.volumes.protect, all }, { parent: this });
    this.namespace = space.metadata.name;
    this.apiKey = pulumi.secret(apiKey);
    this.caCertificate = tls?.authority ?? pulumi.output("");
    this.endpoint = endpointOf(here, { address, service, ready: inNamespace.ready });
    this.registerOutputs({ endpoint: this.endpoint });
  }
}

/** The cluster of the settings, or the emulated one that they ask for, and the image that its nodes have or pull. */
function clusterOf(
  name: string,
  settings: StackSettings,
  {
    baseName,
    deployment,
    parent,
  }: { baseName: string; deployment: pulumi.Output<string>; parent: pulumi.Resource },
) {
  const { cluster } = settings;
  if (cluster.emulated === undefined) {
    const image: pulumi.Input<string> = settings.serverImage ?? "";
    const { kubeconfig, context } = withKubeconfig(cluster);
    return { cluster, kubectl: { kubeconfig, context }, image, machines: undefined };
  }
  const emulated = new EmulatedCluster(
    `${name}-emulated`,
    { baseName, owner: deployment, settings },
    { parent },
  );
  const own = { service: "NodePort" as const, nodePort: EMULATED_NODE_PORT, kvmGroup: EMULATED_KVM_GROUP };
  const { kubeconfig, image, machines } = emulated;
  // Its only context is the current one.
  return { kubectl: { kubeconfig, context: undefined }, image, machines, cluster: { ...cluster, ...own } };
}

interface CertificateArgs {
  namespace: string;
  /** Where clients find the service that have no name for it. */
  address: pulumi.Output<string | undefined>;
  parent: pulumi.Resource;
}

/** What clients are shown: their names for the service, else its address, and those that it has in the cluster. */
function certificateOf(
  name: string,
  { tls }: StackSettings,
  { namespace, address, parent }: CertificateArgs,
) {
  if (!hasTls(tls)) return undefined;
  if (!tls.generate) return { pem: givenCertificate(tls), authority: pulumi.output("") };
  const inCluster = [`${names.router}.${namespace}`, `${names.router}.${namespace}.svc`];
  const known = [...inCluster, "localhost", "127.0.0.1"];
  const all =
    tls.names.length > 0 ? [...tls.names, ...known] : address.apply((it) => (it ? [it, ...known] : known));
  const authorityName = `${namespace} authority`;
  return ownCertificate(name, { authorityName, names: all, usage: "serverAuth" }, parent);
}
