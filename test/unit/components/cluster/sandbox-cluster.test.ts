import fc from "fast-check";
import { expect, test } from "vitest";
import { namespaceOf } from "../../../../components/cluster/namespaces";
import type { Registered } from "../../../harness/pulumi-mocks";
import { deploy } from "./deploy";

const image = `registry.test/server@sha256:${"a".repeat(64)}`;

const cluster = fc.record(
  {
    servers: fc.integer({ min: 1, max: 20 }),
    namespace: fc.constantFrom("sandboxes", "a"),
    storageClass: fc.constant("fast"),
    service: fc.constantFrom("ClusterIP", "NodePort", "LoadBalancer"),
    kvmResource: fc.constant("devices.kubevirt.io/kvm"),
    kvmGroup: fc.integer({ min: 1, max: 70_000 }),
    nodeSelector: fc.constant({ kvm: "true" }),
    tolerations: fc.constant([{ key: "sandboxes", operator: "Exists" }]),
  },
  { requiredKeys: ["servers"] },
);
const anySettings = fc.record(
  {
    cluster,
    serverImage: fc.constant(image),
    port: fc.integer({ min: 1024, max: 65_535 }),
    tls: fc.constant({ generate: true }),
    exposeHttp: fc.constant(true),
    egress: fc.constantFrom("none", "public", "all"),
    egressAllow: fc.constant(["10.1.0.0/16", "api.example.com:443"]),
    isolateByKey: fc.boolean(),
    volumes: fc.record({ keep: fc.boolean(), protect: fc.boolean() }),
  },
  { requiredKeys: ["cluster", "serverImage", "exposeHttp"] },
);

const kindOf = ({ type }: Registered) => type.split(":").at(-1) ?? "";

/** All objects in it that have this field, however deep. */
function having(value: unknown, field: string): Record<string, unknown>[] {
  if (typeof value !== "object" || value === null) return [];
  const inside = Object.values(value).flatMap((part) => having(part, field));
  return Object.hasOwn(value, field) ? [value as Record<string, unknown>, ...inside] : inside;
}

test("whatever is named is there: secrets, accounts, services, pods of a selector, the namespace", async () => {
  await fc.assert(
    fc.asyncProperty(anySettings, async (raw) => {
      const all = await deploy(raw);
      const objects = all.filter(({ type }) => type.startsWith("kubernetes:"));
      const named = (kind: string) =>
        objects.filter((each) => kindOf(each) === kind).map(({ inputs }) => inputs.metadata.name);
      const spaces = named("Namespace");
      for (const { inputs, type } of objects)
        if (!/Namespace$/.test(type)) expect(spaces).toContain(inputs.metadata.namespace);
      for (const { secretName } of having(objects, "secretName"))
        expect(named("Secret")).toContain(secretName);
      for (const { serviceAccountName } of having(objects, "serviceAccountName"))
        expect(named("ServiceAccount")).toContain(serviceAccountName);
      for (const { serviceName } of having(objects, "serviceName"))
        expect(named("Service")).toContain(serviceName);
      const labels = having(objects, "template").map(({ template }) =>
        JSON.stringify((template as { metadata: { labels: unknown } }).metadata.labels),
      );
      for (const { matchLabels } of having(objects, "matchLabels"))
        expect(labels).toContain(JSON.stringify(matchLabels));
      for (const { inputs } of objects.filter((each) => kindOf(each) === "Service"))
        expect(labels).toContain(JSON.stringify(inputs.spec.selector));
      // Each volume of a pod is mounted, and what is mounted is a volume or a claim.
      for (const { containers, volumes } of having(objects, "containers")) {
        const mounts = having(containers, "mountPath").map(({ name }) => name);
        for (const { name } of volumes as { name: string }[]) expect(mounts).toContain(name);
      }
    }),
    { numRuns: 15 },
  );
});

test("pods have what Pod Security restricted asks for, limits, and no account but the routers'", async () => {
  await fc.assert(
    fc.asyncProperty(anySettings, async (raw) => {
      const all = await deploy(raw);
      const restricted = all.filter((each) => /^(StatefulSet|Deployment)$/.test(kindOf(each)));
      expect(restricted).toHaveLength(2);
      for (const { inputs } of restricted) {
        const { spec } = inputs.spec.template;
        expect(spec.securityContext).toMatchObject({
          runAsNonRoot: true,
          seccompProfile: { type: "RuntimeDefault" },
        });
        expect(having(spec, "hostPath")).toEqual([]);
        for (const container of spec.containers) {
          expect(container.securityContext).toMatchObject({
            ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
            capabilities: { drop: ["ALL"] },
          });
          expect(Object.keys(container.resources.limits)).toEqual(expect.arrayContaining(["memory", "cpu"]));
          expect(container.image).toBe(image);
        }
        if (spec.serviceAccountName === undefined) expect(spec.automountServiceAccountToken).toBe(false);
      }
      const plugins = all.filter((each) => kindOf(each) === "DaemonSet");
      expect(plugins).toHaveLength(raw.cluster.kvmResource === undefined ? 1 : 0);
    }),
    { numRuns: 15 },
  );
});

test("every object is made by the provider of the cluster, and no key or private key is in a plain field", async () => {
  const apiKey = "k".repeat(40);
  const all = await deploy({ cluster: { servers: 2 }, serverImage: image, tls: { generate: true }, apiKey });
  const objects = all.filter(({ type }) => type.startsWith("kubernetes:"));
  expect(objects.length).toBeGreaterThan(15);
  for (const { provider } of objects) expect(provider).toMatch(/-provider/);
  const notSecrets = objects.filter((each) => kindOf(each) !== "Secret");
  expect(JSON.stringify(objects)).not.toContain(apiKey);
  expect(JSON.stringify(notSecrets)).not.toContain("peers-certificate output");
});

test("a command that runs again for a changed trigger runs as it is then: what is ignored would be the old one", async () => {
  const all = await deploy({ cluster: { servers: 2 }, serverImage: image, tls: { generate: true } });
  const commands = all.filter(
    ({ type, inputs }) => type === "command:local:Command" && inputs.triggers?.length,
  );
  expect(commands.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["microsandbox-claims", "microsandbox-kvm"]),
  );
  for (const { name, ignoreChanges } of commands) expect([name, ignoreChanges]).toEqual([name, []]);
});

test("a namespace's name is a label of DNS, whatever project and stack are called", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (text) => {
      const name = namespaceOf(`a${text}`);
      expect(name).toMatch(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
    }),
    { numRuns: 500 },
  );
});

test("a destroy leaves the namespace with the claims where volumes are kept, and nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(anySettings, async (raw) => {
      const kept = (await deploy(raw)).filter(({ retainOnDelete }) => retainOnDelete);
      expect(kept.map(kindOf)).toEqual(raw.volumes?.keep === false ? [] : ["Namespace"]);
    }),
    { numRuns: 10 },
  );
});
