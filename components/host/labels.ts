import * as pulumi from "@pulumi/pulumi";
import { DEPLOYMENT_LABEL } from "./preflight-report";

/**
 * What every object on the host is marked with, in the provider's form, so that tools and people find what belongs to
 * a stack. Volumes get no version: a new label would replace them.
 *
 * @param deployment id of the deployment that makes it
 */
export function labels(
  component: string,
  deployment: string,
  version?: string,
): { label: string; value: string }[] {
  const entries: Record<string, string> = {
    "io.microsandbox.project": pulumi.getProject(),
    "io.microsandbox.stack": pulumi.getStack(),
    "io.microsandbox.component": component,
    [DEPLOYMENT_LABEL]: deployment,
    ...(version ? { "io.microsandbox.version": version } : {}),
  };
  return Object.entries(entries).map(([label, value]) => ({ label, value }));
}
