import type * as pulumi from "@pulumi/pulumi";
import { deployHosts, SERVICE, stackOutputs } from "./fleet";
import { isCluster } from "./settings/cluster-errors";
import { readStackSettings } from "./stack-settings";

/** What the settings of the current stack ask for: a service on each host, which is one as a rule, or on a cluster. */
export function deployStack(): Record<string, pulumi.Output<unknown>> {
  const { settings, hosts } = readStackSettings();
  if (!isCluster(settings)) return stackOutputs(deployHosts(SERVICE, hosts));
  // Loaded for a cluster alone: it needs Pulumi's package for Kubernetes.
  const { deployCluster } = require("./cluster-stack") as typeof import("./cluster-stack");
  return deployCluster(SERVICE, settings);
}
