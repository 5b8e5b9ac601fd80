import type { ControlPlane } from "./control-plane";
import type { Registered } from "./pulumi-mocks";

/**
 * Makes the Kubernetes objects of a Pulumi program in a cluster, as the API takes them: namespaces first.
 *
 * @param secrets what is in each Secret, by its name: a program that has run with mocks does not know
 * @throws Error with what the API has refused
 */
export async function applyObjects(
  plane: ControlPlane,
  resources: readonly Registered[],
  secrets: Record<string, Record<string, string>>,
): Promise<void> {
  const objects = resources.filter(({ type }) => /^kubernetes:/.test(type)).map(({ inputs }) => inputs);
  const order = ({ kind }: Registered["inputs"]) => Number(kind !== "Namespace");
  for (const { apiVersion, kind, metadata, ...rest } of objects.sort((a, b) => order(a) - order(b))) {
    const group = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
    const space = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
    const content = kind === "Secret" ? { stringData: secrets[metadata.name] } : rest;
    const body = { apiVersion, kind, metadata, ...content };
    const answer = await plane.request("POST", `${group}${space}/${plural(kind)}`, body);
    if (answer.status !== 201)
      throw new Error(`${kind} ${metadata.name}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
}

/** @example plural("NetworkPolicy") === "networkpolicies" */
const plural = (kind: string): string => `${kind.toLowerCase()}s`.replace(/ys$/, "ies");
