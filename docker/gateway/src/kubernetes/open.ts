import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Names } from "../backends/servers/names";
import { ConfigError, errorText } from "../errors";
import type { Check } from "../sandboxes/backend";
import { KubernetesApi, type Log } from "./api";
import { KeySecret, secretShape } from "./key-secret";
import { LeaseNames } from "./lease-names";
import { ServerCounts, type ServerHas } from "./server-counts";
import { addressesOf, type ServerAddress, statefulSetShape } from "./stateful-set";
import { Watch } from "./watch";

export type KubernetesOptions = {
  /** KUBERNETES_API. */
  url: string;
  /** KUBERNETES_ACCOUNT. */
  account: string;
  /** KUBERNETES_NAMESPACE. Default: that of the account. */
  namespace?: string;
  statefulSet: { name: string; port: number };
  /** KEYS_SECRET, and API_KEYS_FILE. Default: the keys are somebody else's business. */
  keys?: { secret: string; file: string };
  log: Log;
};

/** What a router on Kubernetes has of its cluster. */
export type Kubernetes = {
  /** Shared by all routers before the same StatefulSet. */
  names: Names;
  /** Follows keys and servers from here on. @param servers told of all of them whenever something has changed, and sometimes else */
  follow: (servers: (addresses: ServerAddress[]) => void) => void;
  /** Tells the cluster from here on how many sandboxes each server has. @param counts by the servers' numbers */
  tell: (counts: () => Promise<ReadonlyMap<number, ServerHas>>) => void;
  /** What has to hold once before the router is ready. While the API does not answer they stay as they are. */
  checks: () => Record<string, Check>;
  close: () => Promise<void>;
};

/**
 * A router's view of its cluster: names in Leases, servers from a StatefulSet, keys from a Secret. It asks for nothing else,
 * and tells what each server has.
 * The account of the router's pods needs, in the namespace of all of these and nowhere else, a Role with
 *
 * | apiGroups | resources | resourceNames | verbs |
 * | --- | --- | --- | --- |
 * | `coordination.k8s.io` | `leases` | | `create`, `get`, `list`, `patch`, `delete` |
 * | `apps` | `statefulsets` | STATEFUL_SET | `list`, `watch` |
 * | (core: `""`) | `secrets` | KEYS_SECRET | `list`, `watch` |
 *
 * Both lists select `metadata.name`, so `resourceNames` holds for them. Pods are not read: they are found by the DNS names
 * of the StatefulSet's headless service, which needs `publishNotReadyAddresses: true`, since a server that is not ready
 * still answers for what it has. The certificate of a server is for `<pod>.<service>.<namespace>.svc`, or for
 * `*.<service>.<namespace>.svc`, and SERVER_NUMBER is its pod's ordinal.
 *
 * The pods of a router reach the API, DNS, and STATEFUL_SET_PORT of the servers' pods.
 *
 * Each Lease of a name has the label `microsandbox-stack/servers` with the name of the StatefulSet. There are about as many
 * as things were made within two minutes. All of them may be deleted while nothing is being made. One more for each server,
 * with the label `microsandbox-stack/counts`, tells how many sandboxes, volumes and snapshots it has in the annotations
 * `microsandbox-stack/sandboxes`, `/volumes` and `/snapshots`.
 * @throws ConfigError where the account can't be read, or API_KEYS_FILE not be written
 */
export async function openKubernetes(options: KubernetesOptions): Promise<Kubernetes> {
  const { statefulSet, keys, log } = options;
  const namespace = options.namespace ?? (await namespaceOf(options.account));
  const secret = keys && new KeySecret(keys.file);
  // Closed until the API has told of the keys.
  await secret?.clear();

  const api = new KubernetesApi(options);
  const names = new LeaseNames({ api, namespace, group: statefulSet.name, log });
  let use: (addresses: ServerAddress[]) => void = () => undefined;
  const watches = {
    "stateful-set": new Watch({
      ...{ api, log, name: statefulSet.name, shape: statefulSetShape },
      title: `the StatefulSet ${statefulSet.name} of namespace ${namespace}`,
      collection: `/apis/apps/v1/namespaces/${namespace}/statefulsets`,
      // One that is made anew has the same pods: until then the last one counts.
      use: (set) => set && use(addressesOf(set, statefulSet.port)),
    }),
    ...(keys &&
      secret && {
        keys: new Watch({
          ...{ api, log, name: keys.secret, shape: secretShape },
          title: `the Secret ${keys.secret} of namespace ${namespace}`,
          collection: `/api/v1/namespaces/${namespace}/secrets`,
          use: (found) => secret.use(found),
        }),
      }),
  };

  const closing = new AbortController();
  const work: Promise<void>[] = [];
  return {
    names,
    follow: (servers) => {
      use = servers;
      for (const watch of Object.values(watches)) work.push(watch.follow(closing.signal));
      work.push(names.keepSweeping());
    },
    tell: (counts) => {
      const told = new ServerCounts({ api, namespace, group: statefulSet.name, counts, log });
      work.push(told.keepTelling(closing.signal));
    },
    checks: () => Object.fromEntries(Object.entries(watches).map(([name, watch]) => [name, watch.check()])),
    close: async () => {
      closing.abort();
      await names.close();
      api.close();
      await Promise.all(work);
    },
  };
}

async function namespaceOf(account: string): Promise<string> {
  const path = join(account, "namespace");
  const text = await readFile(path, "utf8").catch((error) => {
    const fix = "give the pod a service account, or set KUBERNETES_NAMESPACE and KUBERNETES_ACCOUNT";
    throw new ConfigError(`STATEFUL_SET: ${path} can't be read (${errorText(error)}): ${fix}`);
  });
  return text.trim();
}
