import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type ClusterNeeds,
  checkedReport,
  clusterProblems,
  clusterReport,
} from "../../../../components/cluster/preflight-report";
import { DEPLOYMENT_LABEL } from "../../../../components/host/preflight-report";
import { healthyCluster } from "../../../harness/pulumi-mocks";

const own = { "io.microsandbox.project": "p", "io.microsandbox.stack": "s", [DEPLOYMENT_LABEL]: "1" };
const needs: ClusterNeeds = { nodeSelector: {}, own };
const reported = (change: object) => {
  const report = clusterReport.parse({ ...healthyCluster, ...change });
  if (!report.ok) throw new Error("it has an answer");
  return report;
};

/** What may be wrong with a cluster, what is asked of it then, and what is said. */
const faults = {
  version: {
    report: { version: { serverVersion: { major: "1", minor: "27+" } } },
    says: /1\.27\+ is too old/,
  },
  labels: { needs: { nodeSelector: { gpu: "no" } }, says: /kubectl label node NODE gpu=no/ },
  device: { needs: { kvmResource: "devices.kubevirt.io/kvm" }, says: /None of 1 nodes advertises/ },
  storage: { needs: { storageClass: "none-such" }, says: /no storage class none-such: it has standard/ },
  namespace: {
    report: { namespaces: [{ name: "sandboxes", labels: [{ other: "x" }], used: false }] },
    says: /The namespace sandboxes is there already/,
  },
  rights: { report: { denied: ["create secrets --namespace a"] }, says: /may not: create secrets/ },
} as const;
type Fault = keyof typeof faults;

test("a healthy cluster has no problem; of a wrong one each fault is said, and no other", () => {
  const all = fc.subarray(Object.keys(faults) as Fault[]);
  fc.assert(
    fc.property(all, (chosen) => {
      // Nodes that are not chosen are not looked at for devices.
      fc.pre(!(chosen.includes("labels") && chosen.includes("device")));
      const picked = chosen.map((fault): { report?: object; needs?: object; says: RegExp } => faults[fault]);
      const problems = clusterProblems(
        reported(Object.assign({}, ...picked.map(({ report }) => report))),
        Object.assign({}, needs, ...picked.map((each) => each.needs)),
      );
      expect(problems).toHaveLength(chosen.length);
      for (const { says } of picked) expect(problems.filter((each) => says.test(each))).toHaveLength(1);
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
