import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contexts } from "../harness/control-plane";
import { grant, missingRights } from "../harness/rights";
import { filesWithSecrets } from "../harness/secret-hunt";
import { TestCluster } from "../harness/test-cluster";

const image = (digit: string) => `registry.test/server@sha256:${digit.repeat(64)}`;
const settings = {
  cluster: { servers: 2, namespace: "sandboxes", nodeSelector: { sandboxes: "true" } },
  serverImage: image("a"),
  tls: { generate: true },
};
type Change = { cluster?: object } & Record<string, unknown>;
const [STACK, OTHER] = ["test-cluster", "test-other"];
let cluster: TestCluster;

beforeAll(async () => {
  const labels = { sandboxes: "true" };
  const nodes = ["a", "b"].map((name) => ({ name, kvm: true, labels }));
  cluster = await TestCluster.withPulumi([...nodes, { name: "c", kvm: false, labels: { kvm: "none" } }]);
  for (const stack of [STACK, OTHER]) await cluster.pulumi.init(stack, settings);
}, 60 * 60_000);
afterAll(() => cluster?.stop());

const configure = ({ cluster: changed, ...others }: Change, stack = STACK) =>
  cluster.pulumi.configure(stack, { ...settings, ...others, cluster: { ...settings.cluster, ...changed } });
async function succeed(stack: string, ...args: string[]): Promise<string> {
  const { exitCode, output } = await cluster.pulumi.run(...args, "--stack", stack);
  expect(exitCode, output).toBe(0);
  return output;
}
const up = (stack = STACK) => succeed(stack, "up", "--yes", "--skip-preview");
const destroy = (stack = STACK) => succeed(stack, "destroy", "--yes", "--skip-preview");
async function fail(...args: string[]): Promise<string> {
  const { exitCode, output } = await cluster.pulumi.run(...args, "--stack", STACK);
  expect(exitCode, output).not.toBe(0);
  return output;
}
const outputOf = async (name: string, ...more: string[]) =>
  (await cluster.pulumi.run("stack", "output", name, ...more, "--stack", STACK)).stdout.trim();
const unchanged = /Resources:\s+\d+ unchanged\s/;
const names = async (kind: string, space = "sandboxes") =>
  (await cluster.all(space, kind)).map(({ metadata }) => metadata.name);
const templateOf = async (workload: string, space = "sandboxes") =>
  (await cluster.in(space, `apps/v1/${workload}`)).spec.template.spec;

describe("a wrong cluster is refused, and nothing of the service is made", () => {
  it("by the first preview, and by an up, whatever is wrong", async () => {
    configure({ cluster: { storageClass: "fast" } });
    for (const command of [["preview"], ["up", "--yes", "--skip-preview"]])
      expect(await fail(...command)).toMatch(/no storage class fast/);
    expect(await cluster.spaces()).toEqual([]);
  });

  it("nodes on which the stack's own device plugin finds no KVM", async () => {
    configure({ cluster: { nodeSelector: { kvm: "none" } } });
    expect(await fail("up", "--yes", "--skip-preview")).toMatch(/No node has KVM: the device plugin runs/);
    expect(await cluster.spaces()).toEqual(["sandboxes-devices"]);
    await destroy();
    expect(await cluster.spaces()).toEqual([]);
  });
});

it("an up makes all of it, and is the last one with anything to do", async () => {
  configure({});
  await up();
  expect(await outputOf("endpoint")).toBe("https://router.sandboxes.svc:5555");
  expect(await cluster.spaces()).toEqual(["sandboxes", "sandboxes-devices"]);
  const router = expect.stringMatching(/^router-/);
  expect(await names("pods")).toEqual([router, router, "servers-0", "servers-1"]);
  expect(await up()).toMatch(unchanged);
  expect(await succeed(STACK, "up", "--yes", "--skip-preview", "--refresh")).toMatch(unchanged);
});

it("stays in its namespace, and on its cluster whichever context is the current one", async () => {
  configure({ cluster: { namespace: "elsewhere" } });
  expect(await fail("preview")).toMatch(
    /deployed in the namespace sandboxes, and cluster.namespace is elsewhere/,
  );
  configure({});
  const { kubeconfig } = cluster.plane;
  const before = readFileSync(kubeconfig, "utf8");
  writeFileSync(kubeconfig, before.replace(/^current-context: .*$/m, `current-context: ${contexts.gone}`));
  expect(await fail("preview")).toMatch(/cluster of its current context did not answer/);
  await succeed(STACK, "refresh", "--yes", "--skip-preview");
  writeFileSync(kubeconfig, before);
  expect(await up()).toMatch(unchanged);
});

it("leaves the key nowhere in plain: neither in the state nor in the cluster", async () => {
  const key = await outputOf("apiKey", "--show-secrets");
  expect(key).toMatch(/^msb_[0-9a-f]{64}$/);
  expect(await filesWithSecrets(cluster.pulumi.home, { key })).toEqual([]);
  const kinds = ["secrets", "pods", "configmaps", "apps/v1/statefulsets", "apps/v1/deployments"];
  const all = JSON.stringify(await Promise.all(kinds.map((kind) => cluster.all("sandboxes", kind))));
  expect(all).not.toContain(key);
  expect(all).not.toContain(Buffer.from(key).toString("base64").slice(0, -4));
});

it("the namespace takes pods as servers and routers are, and none with a privilege more", async () => {
  for (const workload of ["statefulsets/servers", "deployments/router"]) {
    const spec = await templateOf(workload);
    const claims = ["state", "workspace"].map((name) => ({ name, emptyDir: {} }));
    const [container] = spec.containers;
    const make = (change: object) => {
      const securityContext = { ...container.securityContext, ...change };
      const volumes = [...spec.volumes, ...(workload.startsWith("stateful") ? claims : [])];
      const body = {
        metadata: { name: "trial" },
        spec: { ...spec, volumes, containers: [{ ...container, securityContext }] },
      };
      return cluster.plane.request("POST", "/api/v1/namespaces/sandboxes/pods?dryRun=All", body);
    };
    expect(await make({})).toMatchObject({ status: 201 });
    const wrong = [
      { privileged: true, allowPrivilegeEscalation: true },
      { capabilities: {} },
      { runAsNonRoot: false },
    ];
    for (const change of wrong) expect(await make(change)).toMatchObject({ status: 403 });
  }
});

it("routers may read the keys and the set of servers, hold leases, and nothing else", async () => {
  const account = "/api/v1/namespaces/sandboxes/serviceaccounts/router/token";
  const { token } = (await cluster.plane.request("POST", account, { spec: {} })).body.status;
  const status = async (path: string) => (await cluster.plane.request("GET", path, undefined, token)).status;
  const [space, apps] = ["/api/v1/namespaces/sandboxes", "/apis/apps/v1/namespaces/sandboxes"];
  const leases = (name: string) => `/apis/coordination.k8s.io/v1/namespaces/${name}/leases`;
  const named = (name: string) => `?fieldSelector=metadata.name%3D${name}`;
  const may = [
    `${space}/secrets${named("keys")}`,
    `${apps}/statefulsets${named("servers")}`,
    leases("sandboxes"),
  ];
  const not = [
    ...[`${space}/secrets`, `${space}/secrets${named("peer-certificate")}`, `${space}/secrets/keys`],
    ...[`${space}/pods`, `${apps}/statefulsets`, `${apps}/deployments`, "/api/v1/nodes", leases("default")],
  ];
  for (const path of may) expect([path, await status(path)]).toEqual([path, 200]);
  for (const path of not) expect([path, await status(path)]).toEqual([path, 403]);
});

describe("changed settings", () => {
  const change = {
    cluster: { servers: 3, kvmGroup: 104, service: "NodePort", nodePort: 30_555, stateSize: "60G" },
    ...{ serverImage: image("b"), egress: "none", port: 5600, memoryLimit: "8G", stopTimeout: 40 },
    limits: { sandboxes: 7 },
  };
  const sizes = async (): Promise<[string, string][]> =>
    (await cluster.in("sandboxes", "persistentvolumeclaims")).items.map(
      ({
        metadata,
        spec,
      }: {
        metadata: { name: string };
        spec: { resources: { requests: { storage: string } } };
      }) => [metadata.name, spec.resources.requests.storage],
    );

  it("reach what they are for, and let volumes grow", async () => {
    configure(change);
    await up();
    const { replicas, template } = (await cluster.in("sandboxes", "apps/v1/statefulsets/servers")).spec;
    const [server] = template.spec.containers;
    expect(replicas).toBe(3);
    expect(template.spec.securityContext.supplementalGroups).toEqual([104]);
    expect(server).toMatchObject({ image: image("b"), resources: { limits: { memory: "8Gi" } } });
    const set = (name: string, value: string) => expect.objectContaining({ name, value });
    expect(server.env).toContainEqual(set("LIMIT_SANDBOXES", "7"));
    expect(server.env).toContainEqual(set("STOP_TIMEOUT_SECONDS", "40"));
    expect((await templateOf("deployments/router")).containers[0].env).toContainEqual(set("PORT", "5600"));
    const { ports, type } = (await cluster.in("sandboxes", "services/router")).spec;
    expect([type, ports]).toMatchObject(["NodePort", [{ port: 5600, nodePort: 30_555 }]]);
    expect(await outputOf("endpoint")).toBe("https://192.0.2.1:30555");
    const policy = await cluster.in("sandboxes", "networking.k8s.io/v1/networkpolicies/router");
    expect(policy.spec.ingress[0].ports[0].port).toBe(5600);
    const claims = await sizes();
    expect(claims).toHaveLength(6);
    for (const [name, size] of claims) expect(size).toBe(name.startsWith("state") ? "60Gi" : "10Gi");
    expect(await up()).toMatch(unchanged);
  });

  it("that no volume can follow are refused, and change nothing", async () => {
    const before = await sizes();
    const standard = "/apis/storage.k8s.io/v1/storageclasses/standard";
    configure({ ...change, cluster: { ...change.cluster, stateSize: "50G" } });
    expect(await fail("preview")).toMatch(
      /has 60Gi, more than cluster.stateSize: a volume can't be made smaller/,
    );
    configure({ ...change, cluster: { ...change.cluster, stateSize: "70G" } });
    await cluster.plane.request("PATCH", standard, { allowVolumeExpansion: false });
    expect(await fail("up", "--yes", "--skip-preview")).toMatch(/storage class standard lets no volume grow/);
    await cluster.plane.request("PATCH", standard, { allowVolumeExpansion: true });
    configure({ ...change, cluster: { ...change.cluster, storageClass: "fixed" } });
    expect(await fail("preview")).toMatch(/is of the storage class standard, not fixed/);
    configure({ ...change, cluster: { ...change.cluster, servers: 2 } });
    expect(await fail("preview")).toMatch(/servers-2: no router tells what it has[\s\S]*kubectl scale/);
    expect(await sizes()).toEqual(before);
    configure(change);
  });
});

/** What it takes to be told what is missing. */
const looks = [
  { apiGroups: ["*"], resources: ["nodes", "storageclasses", "namespaces"], verbs: ["get", "list"] },
  { apiGroups: ["*"], resources: ["statefulsets", "daemonsets"], verbs: ["get", "list"] },
  { apiGroups: ["*"], resources: ["persistentvolumeclaims", "leases"], verbs: ["list"] },
];

it("another stack of a user with no right but those that are asked for lives in another namespace beside it, and leaves nothing without volumes.keep", async () => {
  const kinds = ["secrets", "services", "serviceaccounts", "apps/v1/statefulsets", "apps/v1/deployments"];
  const mine = async () =>
    (await Promise.all(kinds.map((kind) => cluster.all("sandboxes", kind))))
      .flat()
      .map(({ metadata }) => [metadata.name, metadata.uid, metadata.generation]);
  const before = await mine();
  configure({}, OTHER);
  const { output } = await cluster.pulumi.run("preview", "--stack", OTHER);
  expect(output).toMatch(/The namespace sandboxes is there already, and was not made by this stack/);
  const space = { namespace: "others", servers: 1, context: contexts.stranger };
  configure({ cluster: space, volumes: { keep: false } }, OTHER);
  const user = contexts.stranger;
  await grant(cluster.plane, { user, name: "looks", rules: looks });
  const refused = await cluster.pulumi.run("preview", "--stack", OTHER);
  await grant(cluster.plane, { user, name: "deploys", rules: missingRights(refused.output) });
  await up(OTHER);
  expect(await cluster.spaces()).toEqual(["others", "others-devices", "sandboxes", "sandboxes-devices"]);
  const [{ resources }] = (await templateOf("statefulsets/servers", "others")).containers;
  expect(Object.keys(resources.limits)).toContain("others.microsandbox.dev/kvm");
  await destroy(OTHER);
  expect(await cluster.spaces()).toEqual(["sandboxes", "sandboxes-devices"]);
  expect(await mine()).toEqual(before);
});

it("a destroy keeps the claims and nothing else, and the next up goes on with them", async () => {
  const claims = async () =>
    (await cluster.all("sandboxes", "persistentvolumeclaims")).map(({ metadata }) => [
      metadata.name,
      metadata.uid,
    ]);
  const before = await claims();
  await destroy();
  expect(await cluster.spaces()).toEqual(["sandboxes"]);
  const kinds = [
    ...["pods", "services", "secrets", "apps/v1/statefulsets", "apps/v1/deployments", "apps/v1/replicasets"],
    ...["networking.k8s.io/v1/networkpolicies", "policy/v1/poddisruptionbudgets"],
    ...["rbac.authorization.k8s.io/v1/roles", "rbac.authorization.k8s.io/v1/rolebindings"],
  ];
  for (const kind of kinds)
    await expect.poll(async () => [kind, await names(kind)], { timeout: 60_000 }).toEqual([kind, []]);
  expect(await claims()).toEqual(before);
  const again = { cluster: { servers: 3, stateSize: "60G" } };
  configure({ ...again, volumes: { keep: false } });
  await up();
  expect(await claims()).toEqual(before);
  await destroy();
  expect(await cluster.spaces()).toEqual([]);
});
