import type * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { endpointHost, urlHost } from "../settings/endpoint";
import type { StackSettings } from "../settings/schema";
import { hasTls } from "../settings/tls";
import type { ClusterReport } from "./cluster-report";
import { names } from "./layout";

type EndpointSettings = Pick<StackSettings, "tls" | "port" | "cluster" | "bindAddress" | "hostPort">;

export interface AddressArgs {
  report: pulumi.Output<ClusterReport>;
  namespace: string;
  /** The routers' service. */
  service: kubernetes.core.v1.Service;
}

/**
 * The address at which clients find the routers, where the settings have no name of theirs: this machine's, a node's, the load
 * balancer's, or the service's name in the cluster. Undefined where the cluster tells of none.
 */
export function routerAddress(
  { cluster, bindAddress }: EndpointSettings,
  { report, namespace, service }: AddressArgs,
): pulumi.Output<string | undefined> {
  // Forwarded from this machine.
  if (cluster.emulated) return pulumi.output(endpointHost({ bindAddress, host: "emulated" }));
  if (cluster.service === "NodePort") return report.apply(({ nodes }) => nodeAddress(nodes));
  if (cluster.service === "ClusterIP") return pulumi.output(`${names.router}.${namespace}.svc`);
  return pulumi.output(service.status).apply((status) => {
    const balancer = status?.loadBalancer?.ingress?.[0];
    return balancer?.hostname ?? balancer?.ip;
  });
}

/** Each node has the port: an address of one of them, that clients elsewhere reach if there is such a one. */
function nodeAddress(nodes: ClusterReport["nodes"]): string | undefined {
  const all = nodes.flatMap(({ addresses = [] }) => addresses);
  const first = (type: string) => all.find((each) => each.type === type)?.address;
  return first("ExternalIP") ?? first("InternalIP");
}

export interface EndpointArgs {
  /** As {@link routerAddress} has found it. */
  address: pulumi.Output<string | undefined>;
  /** The routers' service. */
  service: kubernetes.core.v1.Service;
  /** What serves there: the URL is known once it does. */
  ready: pulumi.Resource[];
}

/** Where clients find the routers: by the first of the names of theirs, else at the address. */
export function endpointOf(
  settings: EndpointSettings,
  { address, service, ready }: EndpointArgs,
): pulumi.Output<string> {
  const { tls, port, cluster, hostPort } = settings;
  const scheme = hasTls(tls) ? "https" : "http";
  const settled = pulumi.all(ready.map(({ urn }) => urn));
  return pulumi.all([address, service.spec, settled]).apply(([found, spec]) => {
    const nodePort = spec?.ports?.[0]?.nodePort ?? cluster.nodePort ?? port;
    const published = cluster.service === "NodePort" ? nodePort : port;
    const unknown = cluster.service === "NodePort" ? "NODE" : "LOAD-BALANCER";
    const host = urlHost(tls.names[0] ?? found ?? unknown);
    return `${scheme}://${host}:${cluster.emulated ? hostPort : published}`;
  });
}
