import type * as pulumi from "@pulumi/pulumi";
import { SandboxCluster } from "./cluster/sandbox-cluster";
import { clientEnvironment } from "./microsandbox";
import { settingsAreIn } from "./settings/message-commands";
import type { StackSettings } from "./settings/schema";

/** The stack on a Kubernetes cluster, and its outputs: as those of a single host, as far as a cluster has them. */
export function deployCluster(name: string, settings: StackSettings): Record<string, pulumi.Output<unknown>> {
  settingsAreIn("configuration");
  const { endpoint, apiKey, caCertificate, namespace } = new SandboxCluster(name, settings);
  return {
    endpoint,
    environment: endpoint.apply((url) => clientEnvironment(url, false)),
    apiKey,
    caCertificate,
    namespace,
  };
}
