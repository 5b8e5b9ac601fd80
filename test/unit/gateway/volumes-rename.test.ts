import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { NO_QUOTA } from "../../../docker/gateway/src/backends/msb/volume-files/byte-quota";
import { VolumeFileStore } from "../../../docker/gateway/src/backends/msb/volume-files/store";
import { VolumeFolder } from "./volume-folder";

const folders = fc.array(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 6 });

test("a rename of nothing makes no folders", async () => {
  await fc.assert(
    fc.asyncProperty(folders, folders, async (from, to) => {
      const volume = new VolumeFolder();
      const renamed = volume.files.rename(
        Buffer.from(`/${from.join("/")}/none`),
        Buffer.from(`/${to.join("/")}/x`),
      );
      await expect(renamed).rejects.toMatchObject({ kind: "fileNotFound" });
      expect(readdirSync(volume.root)).toEqual([]);
    }),
    { numRuns: 20 },
  );
});

test("on a disk below its reserve a rename makes no folders, and goes on where it needs none", async () => {
  const { home, root } = new VolumeFolder();
  // More than a tenth of the disk is never kept, so the reserve is asked for with a disk that is full by its word.
  const store = new VolumeFileStore({ home, workspace: join(home, "workspace"), reserveBytes: 0 });
  const full = Object.assign(new Error("full"), { kind: "diskFull" });
  store.disk.check = () => Promise.reject(full);
  const files = store.named(root, { owner: "test" }, NO_QUOTA);
  writeFileSync(join(root, "f"), "x");
  mkdirSync(join(root, "there"));
  await expect(files.rename(Buffer.from("/f"), Buffer.from("/new/f"))).rejects.toBe(full);
  expect(readdirSync(root).sort()).toEqual(["f", "there"]);
  await files.rename(Buffer.from("/f"), Buffer.from("/there/g"));
  expect(readdirSync(join(root, "there"))).toEqual(["g"]);
});
