import type { types } from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { PRIVATE_RANGES, parseOpening } from "../settings/egress";
import type { HostSettings } from "../settings/schema";
import type { ClusterReport } from "./cluster-report";
import { BACKEND_PORT, selector } from "./layout";

type Spec = types.input.networking.v1.NetworkPolicySpec;

/** Ports of the API and of DNS on most clusters, and those of their services, by which some networks judge. */
const USUAL: ClusterReport["ports"] = { api: [443, 6443], dns: [53] };
/** Private networks that a name may lead to: no address of the node itself. */
const NAMED = {
  ipv4: PRIVATE_RANGES.ipv4.filter((range) => !/^(127|169\.254)\./.test(range)),
  ipv6: PRIVATE_RANGES.ipv6.filter((range) => !/^(fe80|::1)/.test(range)),
};

/**
 * Who may reach whom. The policies hold where the cluster's network enforces them; a server also asks each router for its
 * certificate, and limits each sandbox by itself.
 *
 * - routers are reached by clients from anywhere, and reach servers, DNS and the API of Kubernetes
 * - servers are reached by routers alone, and reach what `egress` lets sandboxes reach, and the internet for images
 *
 * @param found ports that the cluster has for its API and for DNS
 */
export function networkPolicies(
  { port, egress, egressAllow }: Pick<HostSettings, "port" | "egress" | "egressAllow">,
  found: pulumi.Input<ClusterReport["ports"]>,
): Record<string, Spec> {
  const servers = [{ podSelector: { matchLabels: selector("servers") } }];
  const routers = [{ podSelector: { matchLabels: selector("router") } }];
  const backend = [{ protocol: "TCP", port: BACKEND_PORT }];
  const ports = (of: keyof typeof USUAL, protocols: string[]) =>
    pulumi.output(found).apply((all) => {
      const each = [...new Set([...USUAL[of], ...all[of]])].sort((one, other) => one - other);
      return each.flatMap((port) => protocols.map((protocol) => ({ protocol, port })));
    });
  const dns = { ports: ports("dns", ["UDP", "TCP"]) };
  const internet = [
    { ipBlock: { cidr: "0.0.0.0/0", except: [...PRIVATE_RANGES.ipv4] } },
    { ipBlock: { cidr: "::/0", except: [...PRIVATE_RANGES.ipv6] } },
  ];
  return {
    "deny-others": { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
    router: {
      podSelector: { matchLabels: selector("router") },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ ports: [{ protocol: "TCP", port }] }],
      // The API has no label: its addresses and port are the cluster's.
      egress: [{ to: servers, ports: backend }, dns, { ports: ports("api", ["TCP"]) }],
    },
    servers: {
      podSelector: { matchLabels: selector("servers") },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: routers, ports: backend }],
      egress: egress === "all" ? [{}] : [dns, { to: internet }, ...egressAllow.map(opened)],
    },
  };
}

/** A policy knows no names: for one, all private networks are open at its port. The server lets a sandbox to the name alone. */
function opened(entry: string) {
  const opening = parseOpening(entry);
  if (opening === undefined) throw new Error(`${entry} opens nothing`);
  const { destination, ports } = opening;
  const ranges = "cidr" in destination ? [destination.cidr] : [...NAMED.ipv4, ...NAMED.ipv6];
  const at = ports.flatMap(({ start: port }) => ["TCP", "UDP"].map((protocol) => ({ protocol, port })));
  return { to: ranges.map((cidr) => ({ ipBlock: { cidr } })), ...(at.length > 0 ? { ports: at } : {}) };
}
