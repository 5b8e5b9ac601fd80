import * as pulumi from "@pulumi/pulumi";
import { DEPLOYMENT_LABEL } from "./preflight-report";

/** Project and stack. */
export interface Owner {
  project: string;
  stack: string;
}

/**
 * What every object on the host is marked with, in the provider's form, so that tools and people find what belongs to
 * a stack. Volumes get no version: a new label would replace them.
 *
 * @param deployment id of the deployment that makes it
 * @param owner default: of the program that runs
 */
export function labels(
  component: string,
  deployment: string,
  version?: string,
  owner: Owner = { project: pulumi.getProject(), stack: pulumi.getStack() },
): { label: string; value: string }[] {
  const entries: Record<string, string> = {
    "io.microsandbox.project": owner.project,
    "io.microsandbox.stack": owner.stack,
    "io.microsandbox.component": component,
    [DEPLOYMENT_LABEL]: deployment,
    ...(version ? { "io.microsandbox.version": version } : {}),
  };
  return Object.entries(entries).map(([label, value]) => ({ label, value }));
}
