import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ArchiveWriter, header, sizeIn, verifyArchive, volumeEntries } from "../../../../cli/backup/archive";
import type { Manifest } from "../../../../cli/backup/manifest";
import { exec } from "../../../../setup/exec";

const folder = mkdtempSync(join(tmpdir(), "backup-"));
const file = join(folder, "good.tar");
const contents = { "state.tar.zst": "s".repeat(1500), "workspace.tar.zst": "" };
let bytes: Buffer;

async function write(path: string): Promise<void> {
  const archive = await ArchiveWriter.open(path);
  const files = {} as Manifest["files"];
  for (const name of volumeEntries)
    files[name] = await archive.add(name, Readable.from([Buffer.from(contents[name])]), () => {});
  const createdAt = "2026-01-02T03:04:05.678Z";
  const rest = { stack: "test", version: "0.7.11", architecture: "amd64", engine: "28.0.0" };
  await archive.finish({ format: 1, createdAt, ...rest, files });
}

beforeAll(async () => {
  await write(file);
  bytes = readFileSync(file);
});
afterAll(() => rmSync(folder, { recursive: true }));

const verified = () => verifyArchive(file, () => {});

async function verify(changed: Buffer): Promise<unknown> {
  const path = join(folder, "changed.tar");
  writeFileSync(path, changed);
  return verifyArchive(path, () => {});
}

describe("a backup", () => {
  it("reads back as it was written, in plain tar too", async () => {
    const { manifest, read } = await verified();
    expect(manifest).toMatchObject({ stack: "test", version: "0.7.11", architecture: "amd64" });
    for (const name of volumeEntries) {
      expect(await text(read(name))).toBe(contents[name]);
      expect((await exec("tar", ["-xOf", file, name])).stdout).toBe(contents[name]);
    }
    const check = await exec("sh", [
      "-c",
      'cd "$1" && tar -xf good.tar && sha256sum -c manifest.json.sha256',
      "sh",
      folder,
    ]);
    expect(check.stdout).toBe("manifest.json: OK");
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("is refused whichever byte of it is changed", async () => {
    const anyByte = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(anyByte, async ([at, change]) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ change;
        await expect(verify(changed)).rejects.toThrow(/not an intact backup[\s\S]*Nothing was changed/);
      }),
      { numRuns: 400 },
    );
  });

  it("is refused wherever it ends too soon, and with anything after its end", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), async (length) => {
        await expect(verify(bytes.subarray(0, length))).rejects.toThrow(/truncated|not where it should be/);
      }),
    );
    await expect(verify(Buffer.concat([bytes, Buffer.from([0])]))).rejects.toThrow(/follows its end/);
  });

  it("never replaces a file, and leaves nothing where it fails", async () => {
    await expect(ArchiveWriter.open(file)).rejects.toThrow(/it exists[\s\S]*new file/);
    const path = join(folder, "failed.tar");
    const archive = await ArchiveWriter.open(path);
    expect(existsSync(path)).toBe(true);
    await archive.discard();
    expect(readdirSync(folder).filter((name) => name.startsWith("failed"))).toEqual([]);
  });

  it("says which folder is missing, and what else is in the way of a file", async () => {
    const missing = join(folder, "no such folder");
    await expect(ArchiveWriter.open(join(missing, "x.tar"))).rejects.toThrow(
      `there is no folder ${missing}.\nTo make it: mkdir -p '${missing}'`,
    );
    await expect(ArchiveWriter.open(join(file, "x.tar"))).rejects.toThrow(/a part of its path is a file/);
    const verified = (path: string) => verifyArchive(path, () => {});
    await expect(verified(join(missing, "x.tar"))).rejects.toThrow(
      /it does not exist\.\nExpected: .*npm run backup/,
    );
    await expect(verified(folder)).rejects.toThrow(/it is a folder\.\nExpected: .*npm run backup/);
  });

  it.each([0, 511, 512, 8 ** 11 - 1, 8 ** 11, 5 * 1024 ** 4])("has a header for %i bytes", (size) => {
    expect(sizeIn(header("state.tar.zst", size))).toBe(size);
  });
});
