import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, type Call, KubernetesApi } from "../../../docker/gateway/src/kubernetes/api";
import { LeaseNames, type LeaseNamesOptions } from "../../../docker/gateway/src/kubernetes/lease-names";
import { FakeKubernetes } from "../../harness/fake-kubernetes";
import { FaultyProxy, type FaultyProxyOptions } from "../../harness/faulty-proxy";
import { atFileEnd } from "../../harness/file-end";
import { removeFolder } from "../../harness/remove-folder";

/** An API of Kubernetes, real or not, with a namespace and an account that may do everything there. */
export type Cluster = { url: string; account: string; namespace: string };

export const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A folder as Kubernetes mounts an account. */
export function accountFolder(files: { token?: string; "ca.crt"?: string; namespace?: string } = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "account-"));
  atFileEnd(() => removeFolder(folder));
  for (const [name, text] of Object.entries({ namespace: "sandboxes", ...files }))
    writeFileSync(join(folder, name), text);
  return folder;
}

/** The cluster that the variable NAMES_CLUSTER tells of in JSON, for example one of control-plane.ts; else one in memory. */
export async function anyCluster(): Promise<Cluster> {
  const given = process.env.NAMES_CLUSTER;
  return given ? JSON.parse(given) : fakeCluster();
}

/** A cluster in memory. */
export async function fakeCluster(): Promise<Cluster & { fake: FakeKubernetes }> {
  const fake = await FakeKubernetes.start();
  atFileEnd(() => fake.close());
  return { fake, url: fake.url, account: accountFolder(), namespace: "sandboxes" };
}

/** The API of a cluster, without faults. */
export function apiOf({ url, account }: Cluster, callMs?: number): KubernetesApi {
  const api = new KubernetesApi({ url, account, callMs });
  atFileEnd(() => api.close());
  return api;
}

/** What somebody else asks of a cluster, once more where the connection was lost. */
export function askerOf(cluster: Cluster): (call: Call) => Promise<unknown> {
  const api = apiOf(cluster, 30_000);
  const isRefusal = (error: unknown) => error instanceof ApiError;
  return (call) =>
    api.call(call).catch((error) => (isRefusal(error) ? Promise.reject(error) : api.call(call)));
}

/** The names of a router, and the way that it has to its cluster. */
export async function namesOver(
  cluster: Cluster,
  way: Pick<FaultyProxyOptions, "fault" | "lateMs"> & { callMs?: number },
  options: Partial<LeaseNamesOptions> = {},
): Promise<{ names: LeaseNames; proxy: FaultyProxy }> {
  const { url, account, namespace } = cluster;
  const proxy = await FaultyProxy.start({ ...way, url, account });
  atFileEnd(() => proxy.close());
  const api = apiOf({ ...cluster, url: proxy.url }, way.callMs);
  return { names: namesWith(api, namespace, options), proxy };
}

/** The names of a router that nothing stands in the way of, however busy this machine is. */
export const namesOf = (
  cluster: Cluster,
  options: Partial<LeaseNamesOptions> = {},
  callMs = 30_000,
): LeaseNames => namesWith(apiOf(cluster, callMs), cluster.namespace, { waitMs: callMs, ...options });

function namesWith(api: KubernetesApi, namespace: string, options: Partial<LeaseNamesOptions>): LeaseNames {
  const names = new LeaseNames({ api, namespace, group: "servers", log: quiet, ...options });
  atFileEnd(() => names.close());
  return names;
}
