import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { temporaryFolder } from "./harness";
import { attributesAt, override, VolumeFolder, whyNoAttributes } from "./volume-folder";

const path = (text: string) => Buffer.from(text);

/** Has a script in the place of getfattr. */
function getfattrIs(script: string): void {
  const folder = temporaryFolder();
  const program = join(folder, "getfattr");
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
}

/** Ways for it to fail: by a signal, without a word, or with one. */
const failures = fc.oneof(
  fc.constant("kill -9 $$"),
  fc.constant("kill -15 $$"),
  fc.integer({ min: 1, max: 125 }).map((code) => `exit ${code}`),
  fc
    .constantFrom("Input/output error", "Too many open files", "Cannot allocate memory", "Permission denied")
    .map((why) => `echo "getfattr: f: ${why}" >&2; exit 1`),
);

describe.skipIf(whyNoAttributes())("where getfattr fails", () => {
  test("a guest's file is not replaced, nor shown with another owner", async () => {
    await fc.assert(
      fc.asyncProperty(failures, async (failure) => {
        const volume = new VolumeFolder();
        const file = volume.inside("f");
        writeFileSync(file, "old");
        override(file, { mode: 0o100600, uid: 1000, gid: 1000 });
        const before = attributesAt(file);
        getfattrIs(failure);
        const unavailable = { kind: "unavailable" };
        await expect(volume.write("/f", "new")).rejects.toMatchObject(unavailable);
        await expect(volume.files.copy(path("/f"), path("/g"))).rejects.toMatchObject(unavailable);
        await expect(volume.files.stat(path("/f"))).rejects.toMatchObject(unavailable);
        await expect(volume.list("/")).rejects.toMatchObject(unavailable);
        vi.unstubAllEnvs();
        expect((await volume.read("f")).toString()).toBe("old");
        expect(attributesAt(file)).toBe(before);
      }),
      { numRuns: 12 },
    );
  });

  test("for want of attributes on the file system, there are none", async () => {
    const volume = new VolumeFolder();
    writeFileSync(volume.inside("f"), "old");
    getfattrIs('echo "getfattr: f: Operation not supported" >&2; exit 1');
    await volume.write("/f", "new");
    expect(await volume.list("/")).toHaveLength(1);
    expect((await volume.read("f")).toString()).toBe("new");
  });
});
