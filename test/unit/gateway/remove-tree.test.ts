import { mkdirSync, readdirSync, readlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { emptyTree } from "../../../docker/gateway/src/backends/msb/volume-files/remove-tree";
import { temporaryFolder } from "./harness";

/** Folders below that one that this process has open. */
function openBelow(top: string): string[] {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "gone";
    }
  });
  return links.filter((link) => link.startsWith(top));
}

test("a removal that fails on its way down leaves no folder open", async () => {
  const top = temporaryFolder();
  mkdirSync(join(top, "a", "b"), { recursive: true });
  const folder = await open(top);
  // As a disk does that can't be read any more.
  const error = Object.assign(new Error("the disk failed"), { code: "EIO" });
  Object.assign(folder, { stat: () => Promise.reject(error) });
  await expect(emptyTree(folder)).rejects.toThrow("the disk failed");
  expect(openBelow(top)).toEqual([]);
});
