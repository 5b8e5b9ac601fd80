import * as pulumi from "@pulumi/pulumi";

/** What every object on the host is marked with, so that tools and people find what belongs to a stack. */
export interface Ownership {
  /** Prefix of the names on the host, `<component>-<stack>`: two stacks live side by side on one host. */
  baseName: string;
  /** microsandbox version, or empty where it would force a volume to be replaced. */
  version?: string;
}

/** The names and labels of one service: from the component's name, the project and the stack. */
export function ownership(componentName: string, version: string): Ownership {
  return { baseName: `${componentName}-${pulumi.getStack()}`, version };
}

/** Docker labels in the provider's form. Volumes get no version: a new label would replace them. */
export function labels(component: string, version?: string): { label: string; value: string }[] {
  const entries: Record<string, string> = {
    "io.microsandbox.project": pulumi.getProject(),
    "io.microsandbox.stack": pulumi.getStack(),
    "io.microsandbox.component": component,
    ...(version ? { "io.microsandbox.version": version } : {}),
  };
  return Object.entries(entries).map(([label, value]) => ({ label, value }));
}
