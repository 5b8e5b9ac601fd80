import type * as pulumi from "@pulumi/pulumi";
import { deployHosts, SERVICE, stackOutputs } from "./fleet";
import { isCluster } from "./settings/cluster";
import { VisibleError } from "./settings/visible-error";
import { readStackSettings } from "./stack-settings";

/** What the settings of the current stack ask for: a service on each host, which is one as a rule, or on a cluster. */
export function deployStack(): Record<string, pulumi.Output<unknown>> {
  const { settings, hosts } = readStackSettings();
  if (!isCluster(settings)) return stackOutputs(deployHosts(SERVICE, hosts));
  return clusterStack().deployCluster(SERVICE, settings);
}

/**
 * What deploys to a cluster; loaded for one alone, as it needs Pulumi's package for Kubernetes.
 *
 * @throws VisibleError where that is not installed
 */
export function clusterStack(
  load = () => require("./cluster-stack") as typeof import("./cluster-stack"),
): typeof import("./cluster-stack") {
  try {
    return load();
  } catch (error) {
    const { code, message = "" } = error as NodeJS.ErrnoException;
    if (code !== "MODULE_NOT_FOUND" || !message.includes("'@pulumi/kubernetes'")) throw error;
    throw new VisibleError(
      "A stack on a cluster needs the npm package @pulumi/kubernetes, which is not installed.\n" +
        "  to install it: npm ci --include=dev --ignore-scripts",
    );
  }
}
