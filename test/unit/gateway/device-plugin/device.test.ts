import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DeviceFile, type Sight, whyUnusable } from "../../../../docker/gateway/src/device-plugin/device";
import { temporaryFolder } from "../harness";

const anyKernel = fc.constantFrom(undefined, "1", "2");
const anySight: fc.Arbitrary<Sight> = fc.record({
  node: fc.option(
    fc.record({
      statCode: fc.constantFrom(undefined, undefined, "ENOENT", "EACCES", "ELOOP"),
      isCharacterDevice: fc.boolean(),
      isUnlinked: fc.boolean(),
      openCode: fc.constantFrom(undefined, "EPERM", "EACCES", "EMFILE", "ENXIO", "ENODEV", "ENOENT"),
    }),
    { nil: undefined },
  ),
  kernel: anyKernel,
  kernelAtStart: anyKernel,
});

test("a device is usable where it opens, or where only the kernel's word is left and it offers it", () => {
  fc.assert(
    fc.property(anySight, (sight) => {
      const { node, kernel, kernelAtStart } = sight;
      const says = kernel !== undefined;
      const isThere = node?.statCode === undefined && node?.isCharacterDevice === true;
      const mayNotOpen = ["EPERM", "EACCES", "EMFILE"].includes(node?.openCode ?? "");
      const usable =
        node === undefined
          ? says
          : isThere &&
            (node.isUnlinked
              ? says && kernel !== kernelAtStart
              : node.openCode === undefined || (mayNotOpen && says));
      expect(whyUnusable(sight) === undefined).toBe(usable);
    }),
    { numRuns: 2_000 },
  );
});

test("files are seen for what they are, as they come and go", () => {
  const folder = temporaryFolder();
  const [path, entry] = [join(folder, "kvm"), join(folder, "entry")];
  const device = new DeviceFile(path, entry);
  expect(device.whyUnusable()).toBe("it is not there (ENOENT)");
  symlinkSync("/dev/null", path);
  expect(device.whyUnusable()).toBeUndefined();
  rmSync(path);
  writeFileSync(path, "");
  expect(device.whyUnusable()).toBe("it is not a device");

  const byKernel = new DeviceFile("", entry);
  expect(byKernel.whyUnusable()).toBe("no driver of the kernel offers it");
  mkdirSync(entry);
  expect(byKernel.whyUnusable()).toBeUndefined();
});
