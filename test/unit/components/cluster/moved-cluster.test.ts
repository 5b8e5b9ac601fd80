import fc from "fast-check";
import { expect, test } from "vitest";
import { deployCluster } from "../../../../components/cluster-stack";
import { parseSettings } from "../../../../components/settings/parse-settings";
import {
  failing,
  healthyCluster,
  healthyHost,
  type Registered,
  registered,
  stateOf,
} from "../../../harness/pulumi-mocks";

interface Where {
  cluster: string;
  context: string;
  namespace: string;
  isEmulated: boolean;
}
const serverImage = `registry.test/server@sha256:${"a".repeat(64)}`;

function on({ cluster, context, namespace, isEmulated }: Where, before: Registered[] = []) {
  const chosen = { servers: 1, namespace, ...(isEmulated ? { emulated: { nodes: 1 } } : {}) };
  const more = isEmulated ? {} : { serverImage };
  const settings = parseSettings({
    cluster: chosen,
    tls: { generate: true },
    apiKey: "k".repeat(40),
    ...more,
  });
  const report = { ...healthyCluster, cluster, context, set: { ...healthyCluster.set, namespace } };
  const host = { ...healthyHost, cluster: report, state: stateOf(before) };
  return [() => deployCluster("microsandbox", settings), host] as const;
}

const where = fc.record({
  cluster: fc.constantFrom("c1", "c2"),
  context: fc.constantFrom("production", "staging"),
  namespace: fc.constantFrom("sandboxes", "others"),
  isEmulated: fc.boolean(),
});
const isObject = ({ type }: Registered) => type.startsWith("kubernetes:");

test("a stack stays where it is: on another cluster, or in another namespace, nothing is made; by whichever context it is", async () => {
  // What a refresh has left that looked at another cluster, or an up that has ended early.
  const left = fc.constantFrom("all", "nothing made", "no namespace");
  await fc.assert(
    fc.asyncProperty(where, where, left, async (first, second, has) => {
      const all = await registered(...on(first));
      const before = all.filter(
        (each) =>
          has === "all" || !(has === "no namespace" ? each.name.endsWith("-namespace") : isObject(each)),
      );
      const { resources, errors } = await failing(...on(second, before));
      const isOwn = first.isEmulated && second.isEmulated;
      const isOther = first.cluster !== second.cluster && !isOwn;
      const isElsewhere = has === "all" && first.namespace !== second.namespace;
      expect(errors).toHaveLength(isOther || isElsewhere ? 1 : 0);
      if (!isOther && !isElsewhere) return;
      expect(resources.filter(isObject)).toEqual([]);
      const [error = ""] = errors;
      if (!isOther) expect(error).toContain(`microsandbox:cluster.namespace ${first.namespace}`);
      else if (first.isEmulated) expect(error).toContain("set cluster.emulated as it was");
      else if (first.context !== second.context)
        expect(error).toContain(`microsandbox:cluster.context ${first.context}`);
      else expect(error).toMatch(/made anew[\s\S]*KUBECONFIG|KUBECONFIG[\s\S]*made anew/);
    }),
    { numRuns: 25 },
  );
});

test("what later runs and a destroy use is the context of the first one, not the one that is current then", async () => {
  const here = { cluster: "c1", context: "production", namespace: "sandboxes", isEmulated: false };
  const all = await registered(...on(here));
  expect(all.find(({ name }) => name.endsWith("-provider"))?.inputs).toMatchObject({ context: "production" });
  const scripts = all.flatMap(({ inputs: { stdin } }) => (/KUBECONFIG_FILE=/.test(stdin) ? [stdin] : []));
  expect(scripts).toHaveLength(2);
  for (const script of scripts) expect(script).toMatch(/^export CONTEXT='?production/m);
});
