import { names } from "./layout";

/**
 * What routers may do in their namespace, and nowhere else: read which servers there are, read and watch the keys, and
 * hold names while sandboxes and volumes are made. docker/gateway/src/kubernetes/open.ts says what each
 * is for.
 */
export const routerRules = [
  {
    apiGroups: ["apps"],
    resources: ["statefulsets"],
    resourceNames: [names.servers],
    verbs: ["list", "watch"],
  },
  { apiGroups: [""], resources: ["secrets"], resourceNames: [names.keys], verbs: ["list", "watch"] },
  {
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    verbs: ["create", "get", "list", "patch", "delete"],
  },
];
