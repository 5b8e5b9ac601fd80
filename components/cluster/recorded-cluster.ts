import type { StateResources } from "../host/deployment";

/** Where the stack is deployed, by its state. */
export interface RecordedCluster {
  /** Id of the cluster; undefined before the first `up`. */
  id: string | undefined;
  /** Context of the kubeconfig by which it was reached. */
  context: string | undefined;
  /** The service's namespace; undefined where there is none yet. */
  namespace: string | undefined;
  isEmulated: boolean;
}

/** The type of the component that makes an emulated cluster. */
export const EMULATED_CLUSTER = "microsandbox:index:EmulatedCluster";

/**
 * By the provider, not by what it has made: a refresh that has found another cluster, where nothing of it is, has dropped that.
 *
 * @param service name of the component `SandboxCluster`
 */
export function recordedCluster(service: string, state: StateResources): RecordedCluster {
  const outputsOf = (end: string) =>
    Object.entries(state).find(([urn]) => urn.endsWith(`::${service}-${end}`))?.[1].outputs ?? {};
  const { clusterIdentifier, context } = outputsOf("provider");
  const { metadata } = outputsOf("namespace") as { metadata?: { name?: unknown } };
  const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  return {
    ...{ id: text(clusterIdentifier), context: text(context), namespace: text(metadata?.name) },
    isEmulated: Object.values(state).some(({ type }) => type === EMULATED_CLUSTER),
  };
}
