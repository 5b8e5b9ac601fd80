import type * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { endpointHost, urlHost } from "../settings/endpoint";
import type { StackSettings } from "../settings/schema";
import { hasTls } from "../settings/tls";
import { names } from "./layout";

export interface EndpointArgs {
  namespace: string;
  /** The routers' service. */
  service: kubernetes.core.v1.Service;
  /** What serves there: the URL is known once it does. */
  ready: pulumi.Resource[];
}

/**
 * Where clients find the routers: by the first of the names of theirs, at the load balancer's address, or at the service's
 * name in the cluster. Of a node port the node's address is the user's to know: `NODE` stands for it.
 */
export function endpointOf(
  settings: Pick<StackSettings, "tls" | "port" | "cluster" | "bindAddress" | "hostPort">,
  { namespace, service, ready }: EndpointArgs,
): pulumi.Output<string> {
  const { tls, port, cluster } = settings;
  const scheme = hasTls(tls) ? "https" : "http";
  const settled = pulumi.all(ready.map(({ urn }) => urn));
  if (cluster.emulated) {
    // Forwarded from this machine.
    const { bindAddress, hostPort } = settings;
    const host = tls.names[0] ?? endpointHost({ bindAddress, host: "emulated" });
    return settled.apply(() => `${scheme}://${urlHost(host)}:${hostPort}`);
  }
  return pulumi.all([service.spec, service.status, settled]).apply(([spec, status]) => {
    const balancer = status?.loadBalancer?.ingress?.[0];
    const byKind = {
      ClusterIP: `${names.router}.${namespace}.svc`,
      NodePort: "NODE",
      LoadBalancer: balancer?.hostname ?? balancer?.ip ?? "LOAD-BALANCER",
    };
    const shownPort =
      cluster.service === "NodePort" ? (spec?.ports?.[0]?.nodePort ?? cluster.nodePort ?? port) : port;
    return `${scheme}://${urlHost(tls.names[0] ?? byKind[cluster.service])}:${shownPort}`;
  });
}
