import type { ControlPlane } from "./control-plane";

export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** Lets a user of a cluster do this, in every namespace. @param name of the role, a new one */
export async function grant(
  plane: ControlPlane,
  { user, name, rules }: { user: string; name: string; rules: Rule[] },
): Promise<void> {
  const roles = "/apis/rbac.authorization.k8s.io/v1/clusterrole";
  const metadata = { name };
  const binding = {
    metadata,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    subjects: [{ kind: "User", name: user }],
  };
  for (const [path, body] of [
    [`${roles}s`, { metadata, rules }],
    [`${roles}bindings`, binding],
  ] as const) {
    const { status, body: answer } = await plane.request("POST", path, body);
    if (status !== 201) throw new Error(`${path}: ${JSON.stringify(answer)}`);
  }
}

/** The rights that a preflight says are missing. @example missingRights("… may not: create, get secrets --namespace a; …") */
export function missingRights(said: string): Rule[] {
  const [, list = ""] = /The user of the kubeconfig may not: (.*)/.exec(said) ?? [];
  return list.split("; ").map((each) => {
    const words = each.split(/,? /);
    const at = words.includes("--namespace") ? words.indexOf("--namespace") - 1 : words.length - 1;
    return { apiGroups: ["*"], resources: [words[at] ?? ""], verbs: words.slice(0, at) };
  });
}
