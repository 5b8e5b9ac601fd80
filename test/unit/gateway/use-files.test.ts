import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ImageUses } from "../../../docker/gateway/src/backends/msb/image-uses";
import { KeyUse } from "../../../docker/gateway/src/keys/key-use";
import { temporaryFolder } from "./harness";

/** What notes a use in a file, and writes that. */
const kinds = {
  keys: async (path: string) => {
    const uses = new KeyUse(path);
    return { note: async () => uses.note("ann"), save: () => uses.save(true) };
  },
  images: async (path: string) => {
    const uses = await ImageUses.open(path);
    return { note: () => uses.during("ann", async () => undefined), save: () => uses.save() };
  },
};

test.each(["keys", "images"] as const)(
  "the last use of %s is written after a write that failed, though nothing is used any more",
  async (kind) => {
    const path = join(temporaryFolder(), "uses.json");
    const uses = await kinds[kind](path);
    await uses.note();
    mkdirSync(join(path, "x"), { recursive: true });
    await expect(uses.save()).rejects.toThrow();
    rmSync(path, { recursive: true });
    await uses.save();
    expect(readFileSync(path, "utf8")).toContain("ann");
    // What is written is not written again.
    rmSync(path);
    await uses.save();
    expect(() => readFileSync(path)).toThrow("ENOENT");
  },
);
