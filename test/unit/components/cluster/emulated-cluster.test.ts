import fc from "fast-check";
import { expect, test } from "vitest";
import type { Registered } from "../../../harness/pulumi-mocks";
import { deploy } from "./deploy";

const settings = fc.record({
  cluster: fc.record({
    servers: fc.integer({ min: 1, max: 9 }),
    emulated: fc.record({ nodes: fc.integer({ min: 1, max: 9 }) }),
  }),
  hostPort: fc.integer({ min: 1024, max: 65_535 }),
  emulatedMemory: fc.constantFrom("6G", "8G"),
  emulatedDisk: fc.constantFrom("20G", "40G"),
});

test("an emulated cluster is made as the settings want it; pods have the image that was brought to its nodes", async () => {
  await fc.assert(
    fc.asyncProperty(settings, async (raw) => {
      const all = await deploy({ ...raw, apiKey: "k".repeat(40) });
      const inputs = (suffix: string) => all.find(({ name }) => name.endsWith(suffix))?.inputs ?? {};
      expect(inputs("-emulated-machines").environment).toMatchObject({
        NODES: String(raw.cluster.emulated.nodes),
        SERVER_PORT: String(raw.hostPort),
        SERVER_ADDRESS: "127.0.0.1",
        MEMORY_MIB: String(Number.parseInt(raw.emulatedMemory, 10) * 1024),
        DISK_GIB: String(Number.parseInt(raw.emulatedDisk, 10)),
        GENERATION: "3",
      });
      expect(inputs("-provider")).toMatchObject({ kubeconfig: "/clusters/kubeconfig" });
      // No script may go to whatever cluster the user's own kubeconfig leads to.
      const scripts = all.flatMap(({ inputs: { stdin } }) => (/KUBECONFIG_FILE=/.test(stdin) ? [stdin] : []));
      expect(scripts).toHaveLength(2);
      for (const script of scripts)
        expect(script).toMatch(/^export KUBECONFIG_FILE=\S*\/clusters\/kubeconfig\b/m);
      expect(inputs("-router-service").spec).toMatchObject({
        type: "NodePort",
        ports: [{ nodePort: 30_555 }],
      });
      const image = inputs("-emulated-image-build").name;
      expect(image).toMatch(/^microsandbox-/);
      expect(inputs("-emulated-load").create).toContain(`load-image`);
      expect(inputs("-emulated-load").create).toContain(` ${image}`);
      expect([...new Set(images(all))]).toEqual([image]);
    }),
    { numRuns: 5 },
  );
});

/** The images of all pods. */
function images(all: readonly Registered[]): unknown[] {
  const specs = all.map(({ inputs }) => inputs.spec?.template?.spec).filter((spec) => spec !== undefined);
  expect(specs).toHaveLength(3);
  return specs.flatMap(({ containers }) => containers.map(({ image }: { image: string }) => image));
}
