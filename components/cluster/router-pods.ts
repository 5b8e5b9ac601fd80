import type { types } from "@pulumi/kubernetes";
import type { Input } from "@pulumi/pulumi";
import { serverUser } from "../server/server-user";
import { serverHome } from "../server/stack-files";
import { limitVariables } from "../settings/limits";
import type { HostSettings } from "../settings/schema";
import {
  BACKEND_PORT,
  liveness,
  names,
  type PodSpec,
  peers,
  readiness,
  restricted,
  SECRETS,
  selector,
  spread,
  variables,
} from "./layout";

export type RouterPodSettings = Pick<HostSettings, "isolateByKey" | "limits" | "port" | "timezone">;

/** Routers: the endpoint stays while one of them is replaced, or its node is drained. */
const ROUTERS = 2;
/** Seconds in which a router that is ended sees its answers through; a pipe is opened anew by its client. */
const STOP_SECONDS = 60;

export interface RouterPodArgs {
  settings: RouterPodSettings;
  /** Reference that the nodes pull. */
  image: Input<string>;
  hasTls: boolean;
}

/**
 * The routers: the same gateway, which keeps nothing of its own. It finds the servers, the names and the keys by the API
 * of Kubernetes.
 */
export function routerDeployment(args: RouterPodArgs): types.input.apps.v1.DeploymentSpec {
  return {
    replicas: ROUTERS,
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    revisionHistoryLimit: 10,
    selector: { matchLabels: selector("router") },
    template: { metadata: { labels: selector("router") }, spec: routerPod(args) },
  };
}

function routerPod({ settings, image, hasTls }: RouterPodArgs): PodSpec {
  const { port } = settings;
  const { pod, container } = restricted(serverUser);
  const scheme = hasTls ? "HTTPS" : "HTTP";
  return {
    ...{ serviceAccountName: names.router, enableServiceLinks: false },
    securityContext: pod,
    terminationGracePeriodSeconds: STOP_SECONDS,
    topologySpreadConstraints: spread("router"),
    containers: [
      {
        name: "router",
        ...{ image, imagePullPolicy: "IfNotPresent" },
        env: variables({
          ...{ PORT: port, DEV_MODE: false, OWN_SANDBOXES: settings.isolateByKey, TZ: settings.timezone },
          ...peers.variables,
          ...(hasTls ? { TLS_FILE: `${SECRETS}/tls/tls.pem` } : {}),
          ...{ STATEFUL_SET: names.servers, STATEFUL_SET_PORT: BACKEND_PORT, KEYS_SECRET: names.keys },
          API_KEYS_FILE: `${serverHome}/gateway/keys`,
          ...limitVariables(settings.limits),
        }),
        ports: [{ name: "api", containerPort: port }],
        resources: { requests: { memory: "256Mi", cpu: "200m" }, limits: { memory: "1Gi", cpu: "2" } },
        readinessProbe: readiness(port, scheme),
        livenessProbe: liveness(port, scheme),
        securityContext: container,
        volumeMounts: [
          { name: "home", mountPath: serverHome },
          peers.mount,
          ...(hasTls ? [{ name: "tls", mountPath: `${SECRETS}/tls`, readOnly: true }] : []),
          { name: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    volumes: [
      { name: "home", emptyDir: { medium: "Memory", sizeLimit: "64Mi" } },
      peers.volume,
      ...(hasTls ? [{ name: "tls", secret: { secretName: names.tls, defaultMode: 0o440 } }] : []),
      { name: "tmp", emptyDir: { medium: "Memory", sizeLimit: "64Mi" } },
    ],
  };
}
