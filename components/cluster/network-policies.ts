import type { types } from "@pulumi/kubernetes";
import { PRIVATE_RANGES, parseOpening } from "../settings/egress";
import type { HostSettings } from "../settings/schema";
import { BACKEND_PORT, selector } from "./layout";

type Spec = types.input.networking.v1.NetworkPolicySpec;

const dns = {
  ports: [
    { protocol: "UDP", port: 53 },
    { protocol: "TCP", port: 53 },
  ],
};

/**
 * Who may reach whom. The policies hold where the cluster's network enforces them; a server also asks each router for its
 * certificate, and limits each sandbox by itself.
 *
 * - routers are reached by clients from anywhere, and reach servers, DNS and the API of Kubernetes
 * - servers are reached by routers alone, and reach what `egress` lets sandboxes reach, and the internet for images
 */
export function networkPolicies({
  port,
  egress,
  egressAllow,
}: Pick<HostSettings, "port" | "egress" | "egressAllow">): Record<string, Spec> {
  const servers = [{ podSelector: { matchLabels: selector("servers") } }];
  const routers = [{ podSelector: { matchLabels: selector("router") } }];
  const backend = [{ protocol: "TCP", port: BACKEND_PORT }];
  const ranges = egressAllow.flatMap((entry) => {
    const destination = parseOpening(entry)?.destination;
    return destination && "cidr" in destination ? [{ ipBlock: { cidr: destination.cidr } }] : [];
  });
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
      egress: [{ to: servers, ports: backend }, dns, { ports: [443, 6443].map(tcp) }],
    },
    servers: {
      podSelector: { matchLabels: selector("servers") },
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: routers, ports: backend }],
      egress: egress === "all" ? [{}] : [dns, { to: [...internet, ...ranges] }],
    },
  };
}

const tcp = (port: number) => ({ protocol: "TCP", port });
