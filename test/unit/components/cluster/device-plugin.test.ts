import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type DevicePluginArgs,
  devicePluginDaemonSet,
  devicePluginPodSpec,
} from "../../../../components/cluster/device-plugin";

const args: fc.Arbitrary<DevicePluginArgs> = fc.record(
  {
    image: fc.constantFrom("registry.test/server:1", "server@sha256:abc"),
    resource: fc.constantFrom("microsandbox.dev/kvm", "example.org/kvm"),
    cluster: fc.record(
      {
        nodeSelector: fc.dictionary(fc.constantFrom("kvm", "zone"), fc.constantFrom("true", "a")),
        tolerations: fc.array(fc.constantFrom({ key: "sandboxes", operator: "Exists" })),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ["image", "resource", "cluster"] },
);

/** Every key in it with its value, however deep. */
const entries = (value: unknown): [string, unknown][] =>
  typeof value !== "object" || value === null
    ? []
    : Object.entries(value).flatMap(([key, inner]) => [[key, inner] as [string, unknown], ...entries(inner)]);
const valuesOf = (spec: unknown, name: string) =>
  entries(spec).flatMap(([key, value]) => (key === name ? [value] : []));

test("the pod has no privilege, no capability, no token, and of the node one folder", () => {
  fc.assert(
    fc.property(args, (given) => {
      const spec = devicePluginPodSpec(given);
      expect(valuesOf(spec, "privileged")).toEqual([false]);
      expect(valuesOf(spec, "allowPrivilegeEscalation")).toEqual([false]);
      expect(valuesOf(spec, "readOnlyRootFilesystem")).toEqual([true]);
      expect(valuesOf(spec, "capabilities")).toEqual([{ drop: ["ALL"] }]);
      expect(valuesOf(spec, "seccompProfile")).toEqual([{ type: "RuntimeDefault" }]);
      expect(spec.automountServiceAccountToken).toBe(false);
      for (const name of ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "ports", "priorityClassName"])
        expect(valuesOf(spec, name)).toEqual([]);
      // Nothing that a node may lack: the pod would wait for it, and each `up` for the pod.
      expect(valuesOf(spec, "hostPath")).toEqual([
        { path: "/var/lib/kubelet/device-plugins", type: "Directory" },
      ]);
      const [container] = spec.containers;
      expect(container?.volumeMounts.map(({ name }) => name)).toEqual(spec.volumes.map(({ name }) => name));
      expect(Object.keys(container?.resources.limits ?? {})).toEqual(["cpu", "memory"]);
      expect(Object.keys(container?.resources.requests ?? {})).toEqual(["cpu", "memory"]);
      expect(spec.nodeSelector).toEqual(given.cluster.nodeSelector ?? {});
      expect(spec.tolerations).toEqual(given.cluster.tolerations ?? []);
    }),
  );
});

test("the DaemonSet selects its own pods, and replaces one before it starts the next", () => {
  fc.assert(
    fc.property(args, (given) => {
      const { selector, template, updateStrategy } = devicePluginDaemonSet(given);
      expect(template.metadata.labels).toEqual(selector.matchLabels);
      expect(Object.keys(selector.matchLabels)).not.toEqual([]);
      expect(updateStrategy.rollingUpdate.maxSurge).toBe(0);
      expect(template.spec).toEqual(devicePluginPodSpec(given));
    }),
  );
});
