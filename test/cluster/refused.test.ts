import { delimiter } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkCluster } from "../../cli/deploy/cluster-checks";
import type { StateResource } from "../../cli/deploy/drift";
import { namespaceLabels } from "../../components/cluster/namespaces";
import { preflightScript } from "../../components/cluster/preflight";
import { checkSettings } from "../../components/settings/checks";
import { parseSettings } from "../../components/settings/parse-settings";
import { explainErrors } from "../../components/settings/setting-errors";
import { exec } from "../../setup/exec";
import { projectName } from "../../setup/project";
import { contexts } from "../harness/control-plane";
import { kubectlFolder } from "../harness/kubectl";
import { grant } from "../harness/rights";
import { TestCluster } from "../harness/test-cluster";

const settings = {
  cluster: { servers: 2, namespace: "sandboxes", nodeSelector: { sandboxes: "true" } },
  serverImage: `registry.test/server@sha256:${"a".repeat(64)}`,
  tls: { generate: true },
};
const STACK = "test-cluster";
type Change = { cluster?: object } & Record<string, unknown>;
let cluster: TestCluster;
let environment: Record<string, string>;

beforeAll(async () => {
  const labels = { sandboxes: "true" };
  const nodes = ["a", "b"].map((name) => ({ name, kvm: true, labels }));
  // Nothing is made here that a controller would have to follow.
  cluster = await TestCluster.start([...nodes, { name: "c", kvm: false }], { controllers: false });
  const path = [await kubectlFolder(), process.env.PATH].join(delimiter);
  environment = { PATH: path, KUBECONFIG: cluster.plane.kubeconfig };
}, 60 * 60_000);
afterAll(() => cluster?.stop());

/** What `npm run doctor` says of the cluster: it looks as previews and ups do. */
async function doctor(change: Change, resources: StateResource[] = []): Promise<string> {
  const raw = { ...settings, ...change, cluster: { ...settings.cluster, ...change.cluster } };
  const { settings: all, errors } = checkSettings(raw);
  if (all === undefined) throw new Error(explainErrors(errors));
  const found = await checkCluster(all, { stack: STACK, resources, environment });
  return found.map(({ verdict, what, remedy }) => [verdict, what, remedy].join(" ")).join("\n");
}

it("the ports that the pods of the API and of DNS listen on are read", async () => {
  const slice = (namespace: string, service: string, ports: object[]) =>
    cluster.plane.request("POST", `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, {
      metadata: { name: service, labels: { "kubernetes.io/service-name": service } },
      ...{ addressType: "IPv4", endpoints: [{ addresses: ["192.0.2.9"] }], ports },
    });
  const ports = async () => {
    const all = parseSettings(settings);
    const input = preflightScript({ ...all, ...all.cluster, namespaces: ["sandboxes"] });
    const { stdout } = await exec("sh", ["-s"], { input, env: environment });
    return JSON.parse(stdout).ports;
  };
  expect(await ports()).toEqual({ api: [], dns: [] });
  expect((await slice("default", "kubernetes", [{ name: "https", port: 8443 }])).status).toBe(201);
  const dns = [
    ...[
      { name: "dns", protocol: "UDP", port: 5353 },
      { name: "dns-tcp", port: 5353 },
    ],
    { name: "metrics", port: 9153 },
  ];
  expect((await slice("kube-system", "kube-dns", dns)).status).toBe(201);
  expect(await ports()).toEqual({ api: [8443], dns: [5353] });
});

describe("a wrong cluster is refused in one sentence, and nothing is made", () => {
  const wrong: [string, Change, RegExp][] = [
    ["no node with KVM", { cluster: { kvmResource: "test/kvm" } }, /None of 2 nodes advertises test\/kvm/],
    ["no such node", { cluster: { nodeSelector: { gpu: "no" } } }, /None of the 3 nodes has the labels/],
    [
      "no storage class",
      { cluster: { storageClass: "fast" } },
      /no storage class fast: it has fixed, standard/,
    ],
    ["no rights", { cluster: { context: contexts.stranger } }, /may not look at the cluster .*forbidden/],
    ["no such context", { cluster: { context: "nowhere" } }, /cluster of the context nowhere did not answer/],
    ["no answer", { cluster: { context: contexts.gone } }, /cluster of the context gone did not answer/],
    ["too few nodes", { cluster: { servers: 100 } }, /2 nodes for servers have room for 32 of 100 servers/],
  ];
  it("a cluster in which nothing is wrong is not", async () => {
    expect(await doctor({})).toMatch(/^ok Cluster: Kubernetes 1\.\d+, 3 nodes/);
  });

  it.each(wrong)("%s", async (_, change, says) => {
    expect(await doctor(change)).toMatch(says);
  });

  it("a user who may look at all, follow nothing, and make a part", async () => {
    const rules = [
      { apiGroups: ["*"], resources: ["*"], verbs: ["get", "list"] },
      { apiGroups: [""], resources: ["secrets"], verbs: ["create", "patch"] },
    ];
    await grant(cluster.plane, { user: contexts.stranger, name: "stranger", rules });
    const may = () => doctor({ cluster: { context: contexts.stranger } });
    await expect
      .poll(may, { timeout: 30_000 })
      .toMatch(
        /may not: create, watch, patch, delete namespaces; watch, delete secrets --namespace sandboxes;/,
      );
    // An up waits for ever for what it may not follow.
    for (const kind of ["endpoints", "replicasets", "pods"])
      expect(await may()).toContain(` watch ${kind} --namespace sandboxes;`);
    expect(await may()).toMatch(/ watch pods --namespace sandboxes-devices$/m);
  });

  it("a namespace that others have made", async () => {
    await cluster.plane.request("POST", "/api/v1/namespaces", { metadata: { name: "taken" } });
    expect(await doctor({ cluster: { namespace: "taken" } })).toMatch(/The namespace taken is there already/);
  });

  it("nodes with taints that nothing tolerates", async () => {
    const taint = (taints: object[]) =>
      Promise.all(
        ["a", "b"].map((name) =>
          cluster.plane.request("PATCH", `/api/v1/nodes/${name}`, { spec: { taints } }),
        ),
      );
    await taint([{ key: "dedicated", value: "db", effect: "NoSchedule" }]);
    expect(await doctor({})).toMatch(/All 2 nodes for servers have taints .*: dedicated=db:NoSchedule/);
    const tolerations = [{ key: "dedicated", operator: "Exists" }];
    expect(await doctor({ cluster: { tolerations } })).toMatch(/^ok /);
    await taint([]);
  });

  it("a port of the nodes that another service has", async () => {
    const [taken, free] = [30_555, 30_556].map((nodePort) => ({
      cluster: { service: "NodePort", nodePort },
    }));
    await cluster.plane.request("POST", "/api/v1/namespaces/default/services", {
      ...{ metadata: { name: "other" } },
      spec: { type: "NodePort", ports: [{ port: 80, nodePort: 30_555 }] },
    });
    expect(await doctor(taken ?? {})).toMatch(/refuses the port 30555 of its nodes: .*already allocated/);
    expect(await doctor(free ?? {})).toMatch(/^ok /);
  });

  it("another cluster, or another namespace, than the stack is deployed on", async () => {
    const recorded = (name: string, type: string, outputs: object) => [
      { urn: `urn:pulumi:${STACK}::p::${type}::microsandbox-${name}`, type, outputs: { ...outputs } },
    ];
    const provider = { clusterIdentifier: "another", context: "elsewhere" };
    expect(await doctor({}, recorded("provider", "pulumi:providers:kubernetes", provider))).toMatch(
      /deployed on the cluster of the context elsewhere, and this run is for the context test,/,
    );
    const space = { metadata: { name: "before" } };
    expect(await doctor({}, recorded("namespace", "kubernetes:core/v1:Namespace", space))).toMatch(
      /deployed in the namespace before, and cluster.namespace is sandboxes now/,
    );
  });

  it("a policy that forbids the device plugin's namespace", async () => {
    const admission = "/apis/admissionregistration.k8s.io/v1";
    const rule = { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["namespaces"] };
    const level = "object.metadata.?labels['pod-security.kubernetes.io/enforce'].orValue('')";
    await cluster.plane.request("POST", `${admission}/validatingadmissionpolicies`, {
      metadata: { name: "nothing-privileged" },
      spec: {
        matchConstraints: { resourceRules: [rule] },
        validations: [{ expression: `${level} != 'privileged'`, message: "nothing privileged here" }],
      },
    });
    await cluster.plane.request("POST", `${admission}/validatingadmissionpolicybindings`, {
      metadata: { name: "nothing-privileged" },
      spec: { policyName: "nothing-privileged", validationActions: ["Deny"] },
    });
    const says = /refuses the namespace sandboxes-devices: .*nothing privileged here/;
    await expect.poll(() => doctor({}), { timeout: 60_000 }).toMatch(says);
    for (const kind of ["validatingadmissionpolicybindings", "validatingadmissionpolicies"])
      await cluster.plane.request("DELETE", `${admission}/${kind}/nothing-privileged`);
  });

  it("what is there of an earlier up: claims that can't follow, and servers that would go", async () => {
    const name = "deployed";
    const owner = { project: projectName(), stack: STACK };
    const labels = namespaceLabels("d1", owner);
    await cluster.plane.request("POST", "/api/v1/namespaces", { metadata: { name, labels } });
    const resources = [
      {
        urn: `urn:pulumi:${STACK}::${owner.project}::command:local:Command::microsandbox-deployment`,
        ...{ type: "command:local:Command", outputs: { stdout: "d1" } },
      },
    ];
    const say = (change: object) => doctor({ cluster: { namespace: name, ...change } }, resources);
    expect(await say({})).toMatch(/^ok /);

    const part = { "app.kubernetes.io/component": "servers" };
    const claim = (kind: string, size: string, storageClassName: string) =>
      cluster.plane.request("POST", `/api/v1/namespaces/${name}/persistentvolumeclaims`, {
        metadata: { name: `${kind}-servers-0`, labels: part },
        spec: {
          ...{ storageClassName, accessModes: ["ReadWriteOnce"] },
          resources: { requests: { storage: size } },
        },
      });
    expect((await claim("state", "50Gi", "standard")).status).toBe(201);
    expect((await claim("workspace", "10Gi", "fixed")).status).toBe(201);
    expect(await say({})).toMatch(/^ok /);
    expect(await say({ stateSize: "60G" })).toMatch(/^ok /);
    expect(await say({ stateSize: "40G" })).toMatch(/state-servers-0 has 50Gi, more than cluster.stateSize/);
    expect(await say({ workspaceSize: "20G" })).toMatch(/its storage class fixed lets no volume grow/);
    expect(await say({ storageClass: "fixed" })).toMatch(/is of the storage class standard, not fixed/);

    const template = { metadata: { labels: part }, spec: { containers: [{ name: "a", image: "a" }] } };
    const set = await cluster.plane.request("POST", `/apis/apps/v1/namespaces/${name}/statefulsets`, {
      metadata: { name: "servers" },
      spec: { replicas: 4, serviceName: "servers", selector: { matchLabels: part }, template },
    });
    expect(set.status).toBe(201);
    for (const [number, snapshots] of [0, 5].entries())
      await cluster.plane.request("POST", `/apis/coordination.k8s.io/v1/namespaces/${name}/leases`, {
        metadata: {
          name: `servers-${number + 2}`,
          labels: { "microsandbox-stack/counts": "servers" },
          annotations: Object.fromEntries(
            Object.entries({ sandboxes: 0, volumes: 0, snapshots }).map(([what, count]) => [
              `microsandbox-stack/${what}`,
              String(count),
            ]),
          ),
        },
      });
    expect(await say({ servers: 4 })).toMatch(/^ok /);
    const has = "servers-3: sandboxes: 0, volumes: 0, snapshots: 5";
    expect(await say({ servers: 3 })).toMatch(new RegExp(`would go have .*:\\s+${has}\\s+to keep`));
    expect(await say({ servers: 1 })).toMatch(new RegExp(`servers-1: no router tells what it has\\s+${has}`));
  });
});
