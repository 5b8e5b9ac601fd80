import { lstatSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import * as fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { FileInfo, FileType } from "../../../docker/gateway/src/sandboxes/volume-files";
import { attributesAt, override, setAttribute, VolumeFolder, whyNoAttributes } from "./volume-folder";

const why = whyNoAttributes();
if (why) console.warn(`what guests see of files is not tested: ${why}`);

const TYPES: [bits: number, type: FileType][] = [
  [0o010000, "fifo"],
  [0o020000, "character_device"],
  [0o060000, "block_device"],
  [0o100000, "file"],
  [0o120000, "symlink"],
  [0o140000, "socket"],
];
const id = fc.integer({ min: 0, max: 0xffff_ffff });
const seen = fc.record({
  type: fc.constantFrom(...TYPES),
  bits: fc.integer({ min: 0, max: 0o7777 }),
  uid: id,
  gid: id,
});
const path = (text: string) => Buffer.from(text);
const byPath = (infos: FileInfo[]) => new Map(infos.map((info) => [info.path.toString("latin1"), info]));

describe.skipIf(why)("what a guest made", () => {
  test("has the mode, owner and type that the guest sees, whatever its name", async () => {
    // Any bytes but a slash and the end of a string; getfattr writes some of them as escapes.
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 40 })
      .map((all) => Buffer.from(all.map((byte) => (byte === 0 || byte === 0x2f ? 0x5c : byte))))
      .filter((bytes) => !["", ".", ".."].includes(bytes.toString("latin1")));
    const files = fc.uniqueArray(fc.tuple(name, seen), {
      minLength: 1,
      maxLength: 8,
      selector: ([bytes]) => bytes.toString("latin1"),
    });
    await fc.assert(
      fc.asyncProperty(files, async (made) => {
        const volume = new VolumeFolder();
        for (const [bytes, { type, bits, uid, gid }] of made) {
          const at = Buffer.concat([Buffer.from(`${volume.root}/`), bytes]);
          writeFileSync(at, "target", { mode: 0o600 });
          override(at, { mode: type[0] | bits, uid, gid });
        }
        const listed = byPath(await volume.list("/"));
        expect(listed.size).toBe(made.length);
        for (const [bytes, { type, bits, uid, gid }] of made) {
          const whole = Buffer.concat([path("/"), bytes]);
          const target = type[1] === "symlink" ? path("target") : null;
          const expected = { type: type[1], mode: bits, uid, gid, size: 6, target };
          expect(listed.get(whole.toString("latin1"))).toMatchObject(expected);
          expect(await volume.files.stat(whole)).toMatchObject(expected);
        }
      }),
      { numRuns: 15 },
    );
  });

  test("keeps mode, owner and attributes when it is written anew, and gives them to its copy", async () => {
    await fc.assert(
      fc.asyncProperty(seen, fc.uint8Array({ maxLength: 50 }), async ({ bits, uid, gid }, value) => {
        const volume = new VolumeFolder();
        const file = volume.inside("f");
        writeFileSync(file, "old", { mode: 0o640 });
        override(file, { mode: 0o100000 | bits, uid, gid });
        setAttribute(file, "user.note", Buffer.from(value));
        const before = attributesAt(file);
        await volume.write("/f", "new");
        await volume.files.copy(path("/f"), path("/deep/g"));
        await volume.files.copy(path("/f"), path("/deep/g"));
        for (const at of ["f", "deep/g"]) {
          expect(attributesAt(volume.inside(at))).toBe(before);
          expect(statSync(volume.inside(at)).mode & 0o7777).toBe(0o640);
          expect(await volume.files.stat(path(at))).toMatchObject({ mode: bits, uid, gid, size: 3 });
          expect((await volume.read(at)).toString()).toBe("new");
        }
      }),
      { numRuns: 10 },
    );
  });

  test.each(TYPES.filter(([, type]) => type !== "file"))(
    "one of type %o (%s) is not read; a file takes its place",
    async (bits, type) => {
      const volume = new VolumeFolder();
      writeFileSync(volume.inside("special"), "/etc/shadow", { mode: 0o600 });
      override(volume.inside("special"), { mode: bits | 0o777, uid: 1, gid: 2 });
      await expect(volume.files.read(path("/special"))).rejects.toMatchObject({ kind: "invalidPath" });
      await volume.files.copy(path("/special"), path("/copy"));
      expect(await volume.files.stat(path("/copy"))).toMatchObject({ type, uid: 1, gid: 2 });
      await volume.write("/special", "plain");
      expect(await volume.files.stat(path("/special"))).toMatchObject({ type: "file", mode: 0o644 });
      expect((await volume.read("/special")).toString()).toBe("plain");
    },
  );

  test.each([Buffer.alloc(0), Buffer.alloc(19, 1), Buffer.alloc(20, 2)])(
    "where msb's note of it is none (%#), the host's own is told",
    async (value) => {
      const volume = new VolumeFolder();
      writeFileSync(volume.inside("f"), "", { mode: 0o604 });
      setAttribute(volume.inside("f"), "user.msb.override_stat", value);
      expect(await volume.files.stat(path("/f"))).toMatchObject({ type: "file", mode: 0o604 });
      expect(await volume.list("/")).toMatchObject([{ type: "file", mode: 0o604 }]);
    },
  );
});

describe("where there are no attributes", () => {
  afterEach(() => void vi.unstubAllEnvs());

  test("without the programs that read them the host's own mode and type are told, and kept", async () => {
    vi.stubEnv("PATH", "/nonexistent");
    const volume = new VolumeFolder();
    writeFileSync(volume.inside("f"), "x", { mode: 0o751 });
    mkdirSync(volume.inside("d"));
    const listed = byPath(await volume.list("/"));
    expect(listed.get("/f")).toMatchObject({ type: "file", mode: 0o751, uid: 0, gid: 0 });
    expect(listed.get("/d")).toMatchObject({ type: "directory" });
    await volume.write("/f", "y");
    expect(await volume.files.stat(path("/f"))).toMatchObject({ mode: 0o751 });
  });

  test("a real link is told with its target, which need not be text", async () => {
    const volume = new VolumeFolder();
    const target = Buffer.from([0x2f, 0xe9, 0x0a]);
    symlinkSync(target, volume.inside("link"));
    expect(await volume.files.stat(path("/link"))).toMatchObject({ type: "symlink", target });
    expect(await volume.list("/")).toMatchObject([{ type: "symlink", target }]);
    expect(lstatSync(volume.inside("link")).isSymbolicLink()).toBe(true);
  });
});
