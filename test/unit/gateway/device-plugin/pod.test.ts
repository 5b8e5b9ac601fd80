import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { devicePluginPodSpec } from "../../../../components/cluster/device-plugin";
import { readConfig } from "../../../../docker/gateway/src/device-plugin/config";
import { projectRoot } from "../../../../setup/project";

const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

test("the program understands what the pod's specification tells it", () => {
  const resource = fc.constantFrom("microsandbox.dev/kvm", "example.org/kvm");
  fc.assert(
    fc.property(resource, (name) => {
      const spec = devicePluginPodSpec({ image: "server", resource: name, cluster: {} });
      const [container] = spec.containers;
      const env = Object.fromEntries((container?.env ?? []).map((each) => [each.name, each.value]));
      const config = readConfig(env);
      // All that is given is known by that name.
      expect(config).toMatchObject({ ...env, KVM_DEVICES: 1000 });
      const seen = container?.volumeMounts.map(({ mountPath }) => mountPath);
      expect(seen).toEqual([config.DEVICE_PLUGINS_FOLDER]);
    }),
  );
});

test("the image holds the program where the pod starts it", () => {
  const [container] = devicePluginPodSpec({ image: "server", resource: "a/b", cluster: {} }).containers;
  const path = container?.command.at(-1) ?? "none";
  const name = path.replace("/opt/gateway/", "");
  expect(read("docker/Dockerfile")).toMatch(new RegExp(`mv [^&]*dist/${name}[^&]* /out/opt/gateway/`));
  const { scripts } = JSON.parse(read("docker/gateway/package.json"));
  expect(scripts.build).toContain(` ${name.replace(".cjs", "")}=src/device-plugin/main.ts `);
});
