import type { FastifyBaseLogger } from "fastify";
import type { Config } from "./config";
import type { Kubernetes } from "./kubernetes/open";

/** The cluster of a router before a StatefulSet; undefined for every other server, which loads nothing of it. @throws ConfigError */
export async function openCluster(
  config: Config,
  log: FastifyBaseLogger,
  onClose: (close: () => Promise<void>) => void,
): Promise<Kubernetes | undefined> {
  const { STATEFUL_SET: name, STATEFUL_SET_PORT: port, KEYS_SECRET: secret, API_KEYS_FILE: file } = config;
  if (name === undefined || port === undefined) return undefined;
  const { openKubernetes } = await import("./kubernetes/open");
  const kubernetes = await openKubernetes({
    url: config.KUBERNETES_API,
    account: config.KUBERNETES_ACCOUNT,
    namespace: config.KUBERNETES_NAMESPACE,
    statefulSet: { name, port },
    keys: secret === undefined || file === undefined ? undefined : { secret, file },
    log,
  });
  onClose(() => kubernetes.close());
  return kubernetes;
}
