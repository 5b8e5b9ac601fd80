import * as kubernetes from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { StackSettings } from "../settings/schema";
import { hasTls } from "../settings/tls";
import { routerRules } from "./access";
import type { ClusterReport } from "./cluster-report";
import { growClaims } from "./grow-claims";
import type { Kubectl } from "./kubectl";
import { BACKEND_PORT, kvmResource, names, type Part, selector } from "./layout";
import { networkPolicies } from "./network-policies";
import { routerDeployment } from "./router-pods";
import { serverSet } from "./server-pods";

export type ChildOptions = {
  parent: pulumi.Resource;
  provider: pulumi.ProviderResource;
  deletedWith?: pulumi.Resource;
  dependsOn?: pulumi.Resource[];
};

/** The same for what comes after more. */
const after = (options: ChildOptions, ...more: pulumi.Resource[]): ChildOptions => ({
  ...options,
  dependsOn: [...(options.dependsOn ?? []), ...more],
});

export interface PodsArgs {
  settings: StackSettings;
  kubectl: Kubectl;
  /** Ports that the cluster has for its API and for DNS. */
  ports: pulumi.Input<ClusterReport["ports"]>;
  /** Reference that the nodes pull, or have. */
  image: pulumi.Input<string>;
  namespace: string;
  /** What is in each secret, as text. */
  secrets: Record<string, Record<string, pulumi.Input<string>>>;
  /** Options of what is in the namespace. */
  space: ChildOptions;
}

/** What has been made in the namespace. */
export interface Pods {
  /** Settled once routers and servers are ready. */
  ready: pulumi.Resource[];
  resources: pulumi.Resource[];
}

/** Servers, routers and all that they need in their namespace. */
export function pods(
  name: string,
  { settings, kubectl, ports, image, namespace, secrets, space }: PodsArgs,
): Pods {
  const kvm = settings.cluster.kvmResource ?? kvmResource(namespace);
  const meta = (object: string) => ({ name: object, namespace });
  const filled = Object.entries(secrets).map(
    ([secret, stringData]) =>
      new kubernetes.core.v1.Secret(`${name}-${secret}`, { metadata: meta(secret), stringData }, space),
  );
  const policies = Object.entries(networkPolicies(settings, ports)).map(
    ([policy, spec]) =>
      new kubernetes.networking.v1.NetworkPolicy(
        `${name}-${policy}-policy`,
        { metadata: meta(policy), spec },
        space,
      ),
  );
  const access = routerAccess(name, meta, space);
  const disruptions = (["servers", "router"] as const).map((part) =>
    disruption(`${name}-${part}`, part, meta, space),
  );
  const before = after(space, ...filled, ...policies, ...access);
  const headless = new kubernetes.core.v1.Service(
    `${name}-servers-service`,
    {
      metadata: meta(names.servers),
      spec: {
        clusterIP: "None",
        selector: selector("servers"),
        // A server that is not ready is asked all the same, and says why.
        publishNotReadyAddresses: true,
        ports: [{ name: "backend", port: BACKEND_PORT, protocol: "TCP", targetPort: BACKEND_PORT }],
      },
    },
    space,
  );
  const servers = new kubernetes.apps.v1.StatefulSet(
    `${name}-servers`,
    { metadata: meta(names.servers), spec: serverSet(settings, { image, kvm }) },
    {
      ...before,
      // It can't be changed in a set, and to make the set anew would end all servers at once: growClaims does it.
      ignoreChanges: ["spec.volumeClaimTemplates"],
      customTimeouts: { create: "20m", update: "60m" },
    },
  );
  const { cluster } = settings;
  const claims = growClaims(name, { kubectl, cluster, namespace, servers }, space.parent);
  const router = new kubernetes.apps.v1.Deployment(
    `${name}-router`,
    {
      metadata: meta(names.router),
      spec: routerDeployment({ settings, image, hasTls: hasTls(settings.tls) }),
    },
    // They are ready when a server is.
    { ...before, customTimeouts: { create: "20m", update: "20m" } },
  );
  const ready = [servers, router];
  return {
    ready,
    resources: [...filled, ...policies, ...access, ...disruptions, headless, ...ready, claims],
  };
}

/** The routers' service. It is made before them: a load balancer's address is in the certificate that they show. */
export function routerService(
  name: string,
  { port, cluster }: Pick<StackSettings, "port" | "cluster">,
  namespace: string,
  space: ChildOptions,
): kubernetes.core.v1.Service {
  const nodePort = cluster.service === "NodePort" ? cluster.nodePort : undefined;
  const spec = {
    type: cluster.service,
    selector: selector("router"),
    ports: [{ name: "api", port, protocol: "TCP", targetPort: port, ...(nodePort ? { nodePort } : {}) }],
  };
  return new kubernetes.core.v1.Service(
    `${name}-router-service`,
    { metadata: { name: names.router, namespace }, spec },
    space,
  );
}

type Meta = (object: string) => { name: string; namespace: string };

function routerAccess(name: string, meta: Meta, space: ChildOptions): pulumi.Resource[] {
  const { namespace } = meta(names.router);
  const account = new kubernetes.core.v1.ServiceAccount(
    `${name}-router-account`,
    { metadata: meta(names.router) },
    space,
  );
  const role = new kubernetes.rbac.v1.Role(
    `${name}-router-role`,
    { metadata: meta(names.router), rules: routerRules },
    space,
  );
  const binding = new kubernetes.rbac.v1.RoleBinding(
    `${name}-router-binding`,
    {
      metadata: meta(names.router),
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: names.router },
      subjects: [{ kind: "ServiceAccount", name: names.router, namespace }],
    },
    after(space, account, role),
  );
  return [account, role, binding];
}

/** A node is drained while at most one pod of a part is away. */
function disruption(name: string, part: Part, meta: Meta, space: ChildOptions): pulumi.Resource {
  return new kubernetes.policy.v1.PodDisruptionBudget(
    `${name}-disruption`,
    { metadata: meta(part), spec: { maxUnavailable: 1, selector: { matchLabels: selector(part) } } },
    space,
  );
}
