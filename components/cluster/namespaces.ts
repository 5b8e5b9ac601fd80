import type * as pulumi from "@pulumi/pulumi";
import { labels, type Owner } from "../host/labels";

/** Length of a label of DNS. */
export const LABEL_LENGTH = 63;

/** A base name as the name of a namespace. */
export const namespaceOf = (baseName: string): string =>
  baseName
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .slice(0, LABEL_LENGTH)
    .replace(/^-+|-+$/g, "");

/**
 * What tells a deployment's namespaces from others. A label of Kubernetes takes fewer letters than a name may have.
 * @param owner default: of the program that runs
 */
export function namespaceLabels(deployment: string, owner?: Owner): Record<string, string> {
  const all = labels("namespace", deployment, undefined, owner).map(({ label, value }) => [
    label,
    labelValue(value),
  ]);
  return Object.fromEntries(all);
}

const labelValue = (text: string) =>
  text
    .replace(/[^\w.-]/g, "-")
    .slice(0, LABEL_LENGTH)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");

/** A namespace's metadata. One that a destroy has kept is taken over: its labels are another deployment's. */
export const namespaceMeta = (
  name: string,
  own: pulumi.Output<Record<string, string>>,
  podSecurity: "restricted" | "privileged",
) => ({
  name,
  annotations: { "pulumi.com/patchForce": "true" },
  labels: own.apply((all) => ({ ...all, "pod-security.kubernetes.io/enforce": podSecurity })),
});
