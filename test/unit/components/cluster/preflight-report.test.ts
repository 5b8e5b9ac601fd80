import fc from "fast-check";
import { expect, test } from "vitest";
import { clusterProblems } from "../../../../components/cluster/cluster-problems";
import { type ClusterNeeds, clusterReport } from "../../../../components/cluster/cluster-report";
import { checkedReport } from "../../../../components/cluster/preflight-report";
import { quantity } from "../../../../components/cluster/quantity";
import { DEPLOYMENT_LABEL } from "../../../../components/host/preflight-report";
import { GIB } from "../../../../components/settings/values";
import { healthyCluster } from "../../../harness/pulumi-mocks";

const own = { "io.microsandbox.project": "p", "io.microsandbox.stack": "s", [DEPLOYMENT_LABEL]: "1" };
const needs: ClusterNeeds = {
  ...{ nodeSelector: {}, tolerations: [], own, servers: 2, memoryReservation: GIB, cpuReservation: 1 },
  before: { id: undefined, context: undefined, namespace: undefined, isEmulated: false },
  service: "NodePort",
  ...{ stateSize: 50 * GIB, workspaceSize: 10 * GIB },
};
const claim = (change: object) => ({ name: "state-servers-0", class: "standard", size: "50Gi", ...change });
const reported = (change: object) => {
  const report = clusterReport.parse({ ...healthyCluster, ...change });
  if (!report.ok) throw new Error("it has an answer");
  return report;
};

const taint = (effect: string) => ({ key: "dedicated", value: "db", effect });

/** What may be wrong with a cluster, what is asked of it then, and what is said. */
const faults = {
  version: {
    report: { version: { serverVersion: { major: "1", minor: "27+" } } },
    says: /1\.27\+ is too old/,
  },
  labels: { needs: { nodeSelector: { gpu: "no" } }, says: /kubectl label node NODE gpu=no/ },
  none: { report: { nodes: [] }, says: /The cluster has no node\./ },
  tainted: {
    report: { nodes: healthyCluster.nodes.map((node) => ({ ...node, taints: [[taint("NoSchedule")]] })) },
    says: /All 1 nodes for servers have taints .*: dedicated=db:NoSchedule\n.*"key":"dedicated".*\n.*taint node NODE dedicated:NoSchedule-$/,
  },
  device: { needs: { kvmResource: "devices.kubevirt.io/kvm" }, says: /None of 1 nodes advertises/ },
  storage: {
    needs: { storageClass: "none-such" },
    report: { claims: [claim({ class: "none-such" })] },
    says: /no storage class none-such: it has standard/,
  },
  namespace: {
    report: { namespaces: [{ name: "sandboxes", labels: [{ other: "x" }], used: false }] },
    says: /The namespace sandboxes is there already/,
  },
  room: { needs: { servers: 2000 }, says: /have room for 256 of 2000 servers.*cluster.servers 256/s },
  smaller: { needs: { stateSize: 49 * GIB }, says: /a volume can't be made smaller.*stateSize 50G/s },
  policy: {
    report: { refused: [{ name: "a-devices", message: "policy says no" }] },
    says: /refuses the namespace a-devices: policy says no/,
  },
  port: {
    needs: { nodePort: 30_555 },
    report: { nodePort: "provided port is already allocated" },
    says: /refuses the port 30555 of its nodes: provided port is already allocated\n.*config rm/,
  },
  rights: {
    report: { denied: ["create secrets --namespace a", "patch secrets --namespace a", "create namespaces"] },
    says: /may not: create, patch secrets --namespace a; create namespaces\n/,
  },
} as const;
type Fault = keyof typeof faults;

test("a healthy cluster has no problem; of a wrong one each fault is said, and no other", () => {
  const all = fc.subarray(Object.keys(faults) as Fault[]);
  fc.assert(
    fc.property(all, (chosen) => {
      // Nodes that are not chosen are not looked at for devices.
      fc.pre(chosen.filter((each) => /^(labels|device|room|none|tainted)$/.test(each)).length < 2);
      const picked = chosen.map((fault): { report?: object; needs?: object; says: RegExp } => faults[fault]);
      const problems = clusterProblems(
        reported(Object.assign({ claims: [claim({})] }, ...picked.map(({ report }) => report))),
        Object.assign({}, needs, ...picked.map((each) => each.needs)),
      );
      expect(problems).toHaveLength(chosen.length);
      for (const { says } of picked) expect(problems.filter((each) => says.test(each))).toHaveLength(1);
    }),
  );
});

test("a node whose taints keep servers away has no room for any, unless all are tolerated or pass by themselves", () => {
  const [passing, cordoned] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"];
  const taints = fc.record(
    {
      key: fc.constantFrom("dedicated", "other", passing, cordoned),
      value: fc.constantFrom("db", "web"),
      effect: fc.constantFrom("NoSchedule", "NoExecute", "PreferNoSchedule"),
    },
    { requiredKeys: ["key", "effect"] },
  );
  // One of each that says less than the one before it.
  const tolerations = fc.subarray([
    { key: "dedicated", operator: "Equal" as const, value: "db", effect: "NoSchedule" as const },
    { key: "dedicated", value: "web" },
    { key: "dedicated", operator: "Exists" as const, effect: "NoExecute" as const },
    { key: "other" },
    { operator: "Exists" as const },
  ]);
  const tolerated: Record<string, (all: string) => boolean> = {
    "dedicated=db:NoSchedule": (all) => /"value":"db"/.test(all),
    "dedicated=web:NoSchedule": (all) => /"value":"web"/.test(all),
    "dedicated=db:NoExecute": (all) => /NoExecute/.test(all),
    "dedicated=web:NoExecute": (all) => /"value":"web"|NoExecute/.test(all),
    "dedicated=:NoExecute": (all) => /NoExecute/.test(all),
    "other=:NoSchedule": (all) => /other/.test(all),
    "other=:NoExecute": (all) => /other/.test(all),
  };
  fc.assert(
    fc.property(fc.array(taints, { maxLength: 3 }), tolerations, (all, tolerations) => {
      const [node] = healthyCluster.nodes;
      const nodes = [node, { ...node, name: "b", taints: [all] }];
      const text = JSON.stringify(tolerations);
      const isAny = tolerations.some(({ key }) => key === undefined);
      const isOpen = all.every(
        ({ key, value = "", effect }) =>
          key.startsWith("node.kubernetes.io/") ||
          effect === "PreferNoSchedule" ||
          isAny ||
          tolerated[`${key}=${value}:${effect}`]?.(text),
      );
      const problems = clusterProblems(reported({ nodes }), { ...needs, servers: 2000, tolerations });
      expect(problems.join()).toContain(
        isOpen ? "room for 512 of" : "The 1 nodes for servers have room for 256 of",
      );
    }),
  );
});

test("a node has KVM if it offers one device or more, in the letters in which the API writes their number", () => {
  const thousand = fc.constantFrom(1, 10, 1000, 10_000, 1_000_000);
  // 1000 is written 1k, and 1500 as it is.
  const written = (count: number) => {
    if (count === 0 || count % 1000 > 0) return String(count);
    return count % 1_000_000 === 0 ? `${count / 1_000_000}M` : `${count / 1000}k`;
  };
  fc.assert(
    fc.property(fc.nat(20), thousand, (few, times) => {
      const allocatable = { cpu: "256", memory: "1Ti", "test/kvm": written(few * times) };
      const nodes = healthyCluster.nodes.map((node) => ({ ...node, allocatable }));
      const problems = clusterProblems(reported({ nodes }), { ...needs, kvmResource: "test/kvm" });
      expect(problems).toHaveLength(few === 0 ? 1 : 0);
    }),
  );
});

test("a cluster without any or without a default storage class is refused", () => {
  expect(clusterProblems(reported({ storageClasses: [] }), needs).join()).toMatch(/it has none at all/);
  const storageClasses = healthyCluster.storageClasses.slice(1);
  expect(clusterProblems(reported({ storageClasses }), needs).join()).toMatch(/no default storage class/);
  expect(clusterProblems(reported({ storageClasses }), { ...needs, storageClass: "fast" })).toEqual([]);
});

test("a namespace is the stack's own by all its labels; one that a destroy has kept is so while nothing runs in it", () => {
  const values = fc.record({
    project: fc.boolean(),
    stack: fc.boolean(),
    deployment: fc.boolean(),
    used: fc.boolean(),
  });
  fc.assert(
    fc.property(values, ({ project, stack, deployment, used }) => {
      const labels = {
        "io.microsandbox.project": project ? "p" : "other",
        "io.microsandbox.stack": stack ? "s" : "other",
        [DEPLOYMENT_LABEL]: deployment ? "1" : "2",
      };
      const namespaces = [{ name: "sandboxes", labels: [labels], used }];
      const isOwn = project && stack && (deployment || !used);
      expect(clusterProblems(reported({ namespaces }), needs)).toHaveLength(isOwn ? 0 : 1);
    }),
  );
});

test("a cluster that does not answer is said with kubectl's words and the next line to type", () => {
  const said = "Unable to connect to the server: dial tcp: lookup k8s.test: no such host";
  const answer = (code: string) => JSON.stringify({ ok: false, code, message: said });
  expect(() => checkedReport(answer("unreachable"), { ...needs, context: "prod" })).toThrow(
    /context prod did not answer.*no such host.*kubectl get nodes --context prod/s,
  );
  expect(() => checkedReport(answer("no-kubectl"), needs)).toThrow(/kubectl was not found.*install kubectl/s);
});

test("a claim that is to grow is refused where its class lets none grow, and one of another class always", () => {
  const sizes = fc.record({ has: fc.integer({ min: 1, max: 99 }), wants: fc.integer({ min: 1, max: 99 }) });
  fc.assert(
    fc.property(sizes, fc.constantFrom("standard", "fast"), ({ has, wants }, of) => {
      const claims = [claim({ class: of, size: `${has}Gi` }), claim({ name: "other", size: "1Ti" })];
      const problems = clusterProblems(reported({ claims }), { ...needs, stateSize: wants * GIB });
      const isRefused = has > wants || (has < wants && of === "fast");
      expect(problems).toHaveLength(isRefused ? 1 : 0);
      if (isRefused) expect(problems[0]).toContain(`cluster.stateSize ${has}G`);
      const moved = { ...needs, stateSize: has * GIB, storageClass: "standard" };
      expect(clusterProblems(reported({ claims }), moved)).toHaveLength(of === "standard" ? 0 : 1);
    }),
  );
});

test("servers go only where a router tells that they have nothing", () => {
  /** "" is what an earlier router tells. */
  const count = fc.constantFrom("0", "0", "0", "3", "");
  const told = fc.record({ sandboxes: count, volumes: count, snapshots: count });
  const all = fc.array(fc.option(told, { nil: undefined }), { maxLength: 6 });
  fc.assert(
    fc.property(all, fc.integer({ min: 1, max: 6 }), (all, servers) => {
      const counts = all.flatMap((has, at) => (has ? [{ name: `servers-${at}`, ...has }] : []));
      const set = { namespace: "a", replicas: all.length, counts };
      const held = all.slice(servers).filter((has) => !has || Object.values(has).some((n) => n !== "0"));
      const problems = clusterProblems(reported({ set }), { ...needs, servers });
      expect(problems).toHaveLength(held.length > 0 ? 1 : 0);
      if (held.length > 0) {
        expect(problems[0]).toMatch(new RegExp(`--replicas ${servers} --namespace a`));
        expect(problems[0]?.match(/servers-\d+: /g)).toHaveLength(held.length);
      }
    }),
  );
});

test("quantities are read as Kubernetes writes them", () => {
  const units = {
    m: 1e-3,
    "": 1,
    k: 1e3,
    M: 1e6,
    G: 1e9,
    T: 1e12,
    Ki: 1024,
    Mi: 1024 ** 2,
    Gi: GIB,
    Ti: 1024 ** 4,
  };
  fc.assert(
    fc.property(fc.nat(10_000), fc.constantFrom(...Object.entries(units)), (count, [unit, size]) => {
      expect(quantity(`${count}${unit}`)).toBeCloseTo(count * size, 3);
    }),
  );
  expect(quantity("1.5Gi")).toBe(1.5 * GIB);
  expect(quantity("1e3")).toBe(1000);
  for (const text of ["", "Gi", "1 Gi", "1GB", "x"]) expect(quantity(text)).toBeNaN();
});
