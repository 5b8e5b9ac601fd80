import type { types } from "@pulumi/kubernetes";

/** A pod's specification, as Pulumi takes it. */
export type PodSpec = types.input.core.v1.PodSpec;
export type Container = types.input.core.v1.Container;
type Labels = Record<string, string>;

/** Port on which routers use a server, with certificates on both sides. */
export const BACKEND_PORT = 5556;
/** Resource that the stack's own device plugin advertises: two plugins with the same one would drive each other out. */
export const kvmResource = (namespace: string): string => `${namespace}.microsandbox.dev/kvm`;
/** Folder of certificates and keys in a pod. */
export const SECRETS = "/etc/microsandbox";

/** What the objects of a stack are called, in a namespace of its own. */
export const names = {
  servers: "servers",
  router: "router",
  devicePlugin: "kvm-device-plugin",
  keys: "keys",
  peers: "peer-certificate",
  tls: "tls-certificate",
} as const;

export type Part = "servers" | "router" | "device-plugin";

/** Labels by which pods of a part are found. They can't change on what is deployed. */
export const selector = (part: Part): Labels => ({
  "app.kubernetes.io/name": "microsandbox",
  "app.kubernetes.io/component": part,
});

/** The address of one server's pod: it stays with its number. */
export const serverHost = (number: number | string, namespace: string): string =>
  `${names.servers}-${number}.${names.servers}.${namespace}.svc`;

/** The certificate by which routers and servers know each other, in a pod of either. */
export const peers = {
  variables: { PEER_TLS_FILE: `${SECRETS}/peers/tls.pem`, PEER_CA_FILE: `${SECRETS}/peers/ca.pem` },
  mount: { name: "peers", mountPath: `${SECRETS}/peers`, readOnly: true },
  volume: { name: "peers", secret: { secretName: names.peers, defaultMode: 0o440 } },
};

/** What Pod Security `restricted` asks for, and a root file system that nobody can write to. */
export const restricted = (user: number) => ({
  pod: {
    ...{ runAsNonRoot: true, runAsUser: user, runAsGroup: user },
    ...{ fsGroup: user, fsGroupChangePolicy: "OnRootMismatch" },
    seccompProfile: { type: "RuntimeDefault" },
  },
  container: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
});

/** Spreads the pods of a part over nodes as far as it goes. */
export const spread = (part: Part) => [
  {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: selector(part) },
  },
];

/** A probe of the server's own answer, without a key. */
export const readiness = (port: number, scheme: "HTTP" | "HTTPS") => ({
  httpGet: { path: "/readyz", port, scheme },
  ...{ periodSeconds: 5, timeoutSeconds: 10, failureThreshold: 3 },
});

/** Whether the process answers at all: one that hangs is started again, one that is busy has a minute. */
export const liveness = (port: number, scheme: "HTTP" | "HTTPS") => ({
  httpGet: { path: "/healthz", port, scheme },
  ...{ initialDelaySeconds: 30, periodSeconds: 10, timeoutSeconds: 10, failureThreshold: 6 },
});

export const variables = (all: Record<string, string | number | boolean>) =>
  Object.entries(all).map(([name, value]) => ({ name, value: String(value) }));
