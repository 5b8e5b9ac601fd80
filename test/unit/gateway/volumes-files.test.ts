import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { NO_QUOTA } from "../../../docker/gateway/src/backends/msb/volume-files/byte-quota";
import { ServiceError } from "../../../docker/gateway/src/errors";
import { fileBodyOf, fileListOf } from "../../../docker/gateway/src/http/volume-file-body";
import type { VolumeFiles } from "../../../docker/gateway/src/sandboxes/volume-files";
import { baseline, MOST_TIMES } from "./event-loop-baseline";
import { bytes, newFolder, smallDisk, VolumeFolder } from "./volume-folder";

const path = (text: string) => Buffer.from(text);
const rejection = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );
const openDescriptors = () => readdirSync("/proc/self/fd").length;

const OPERATIONS = [
  "list",
  "stat",
  "exists",
  "read",
  "write",
  "mkdir",
  "remove",
  "removeTree",
  "copy",
  "rename",
];
/** One of all that a client can ask for. */
const operation = (at: fc.Arbitrary<string>) =>
  fc.record({ name: fc.constantFrom(...OPERATIONS), from: at, to: at });
type Operation = { name: string; from: string; to: string };

async function run(files: VolumeFiles, { name, from, to }: Operation, content = "written"): Promise<unknown> {
  const source = Buffer.from(from);
  switch (name) {
    case "read": {
      const { content: stream } = await files.read(source);
      return Buffer.concat(await stream.toArray()).toString();
    }
    case "write":
      return files.write(source, bytes(content));
    case "copy":
    case "rename":
      return files[name](source, Buffer.from(to));
    case "remove":
    case "removeTree":
      return files.remove(source, { recursive: name === "removeTree" });
    default:
      return files[name as "list" | "stat" | "exists" | "mkdir"](source);
  }
}

describe("errors", () => {
  const names = ["file", "dir", "link", "out", "fifo", "gone", "x".repeat(300), ".", "..", "\0", "é\n"];
  const at = fc.array(fc.constantFrom(...names), { maxLength: 4 }).map((parts) => `/${parts.join("/")}`);

  test("whatever is asked for, the answer is an error of the client's, or none", async () => {
    const volume = new VolumeFolder();
    const outside = newFolder();
    const before = openDescriptors();
    await fc.assert(
      fc.asyncProperty(fc.array(operation(at), { minLength: 1, maxLength: 6 }), async (operations) => {
        rmSync(volume.root, { recursive: true });
        mkdirSync(volume.inside("dir", "dir"), { recursive: true });
        writeFileSync(volume.inside("file"), "content");
        writeFileSync(volume.inside("dir", "file"), "content");
        symlinkSync("file", volume.inside("link"));
        symlinkSync(outside, volume.inside("out"));
        execFileSync("mkfifo", [volume.inside("fifo")]);
        for (const each of operations) {
          const error = await rejection(run(volume.files, each));
          if (error === undefined) continue;
          expect(error).toBeInstanceOf(ServiceError);
          expect(["invalidPath", "fileNotFound"]).toContain((error as ServiceError).kind);
        }
      }),
      { numRuns: 60 },
    );
    expect(readdirSync(outside)).toEqual([]);
    expect(volume.uploads()).toEqual([]);
    expect(openDescriptors()).toBeLessThanOrEqual(before + 1);
  });

  test("nothing is below a file, and that is no error", async () => {
    const volume = new VolumeFolder();
    await volume.write("/file", "x");
    expect(await volume.files.exists(path("/file/x"))).toBe(false);
    expect(await volume.files.exists(path(`/${"x".repeat(300)}`))).toBe(false);
    expect(await volume.files.exists(path("/"))).toBe(true);
  });
});

describe("names", () => {
  test("of any bytes can be written, listed, read back and removed with their folder", async () => {
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 255 })
      .map((all) => Buffer.from(all.map((byte) => (byte === 0 || byte === 0x2f ? 0xe9 : byte))))
      .filter((bytes) => ![".", ".."].includes(bytes.toString("latin1")));
    await fc.assert(
      fc.asyncProperty(name, async (bytes) => {
        const volume = new VolumeFolder();
        const whole = Buffer.concat([path("/dir/"), bytes]);
        await volume.write(whole, "content");
        const [info, ...others] = await volume.list("/dir");
        expect([info?.path, others]).toEqual([whole, []]);
        if (!info) return;
        const body = fileBodyOf(info);
        const sent = body.path_base64 ?? Buffer.from(body.path).toString("base64url");
        expect((await volume.read(Buffer.from(sent, "base64url"))).toString()).toBe("content");
        await volume.files.remove(path("/dir"), { recursive: true });
        expect(readdirSync(volume.root)).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  test("the name of an upload is nobody's: a user's file with any name is listed", async () => {
    const volume = new VolumeFolder();
    for (const name of [".msb-upload-x", ".msb-uploads"]) await volume.write(`/${name}`, "x");
    const listed = (await volume.list("/")).map((info) => info.path.toString());
    expect(listed.sort()).toEqual(["/.msb-upload-x", "/.msb-uploads"]);
  });
});

test("any time is told in RFC 3339, or as null", async () => {
  const home = smallDisk("4m");
  if (!home) return;
  const volume = new VolumeFolder(home);
  const time = fc.oneof(fc.integer({ min: -1e12, max: 1e13 }), fc.constantFrom(-1, 0, 9.3e12, -7e10, 3e11));
  const schema = z.iso.datetime({ offset: true }).nullable();
  let nulls = 0;
  await fc.assert(
    fc.asyncProperty(time, time, async (accessed, modified) => {
      writeFileSync(volume.inside("f"), "");
      utimesSync(volume.inside("f"), accessed, modified);
      const [info] = await volume.list("/");
      const body = info && fileBodyOf(info);
      for (const told of [body?.accessed_at, body?.modified_at, body?.created_at])
        if (schema.parse(told) === null) nulls += 1;
    }),
    { numRuns: 100, examples: [[9.3e12, -7e10]] },
  );
  expect(nulls).toBeGreaterThan(0);
});

describe("many", () => {
  test("files of a folder are listed, and the event loop turns meanwhile", { timeout: 60_000 }, async () => {
    const volume = new VolumeFolder();
    const count = 20_000;
    for (let index = 0; index < count; index++) writeFileSync(volume.inside(`f${index}`), "");
    let turning = true;
    let longest = 0;
    const watched = (async () => {
      while (turning) {
        const [began, used] = [performance.now(), process.cpuUsage()];
        await turn();
        const { user, system } = process.cpuUsage(used);
        // What is longer than the CPU that was used waited for a CPU that others had.
        longest = Math.max(longest, Math.min(performance.now() - began, (user + system) / 1e3));
      }
    })();
    const parts = volume.files.list(path("/"));
    const { value: first = [] } = await parts.next();
    const text = [];
    for await (const part of fileListOf(first, parts)) {
      text.push(part);
      await turn();
    }
    turning = false;
    await watched;
    expect(new Set(JSON.parse(text.join("")).entries.map((entry: { path: string }) => entry.path)).size).toBe(
      count,
    );
    expect(longest / baseline(), "times the baseline").toBeLessThan(MOST_TIMES);
  });

  test("levels of folders are removed with a handful of descriptors", { timeout: 120_000 }, async () => {
    const volume = new VolumeFolder();
    mkdirSync(volume.inside("deep"));
    // Deeper than any path can name.
    const make =
      "process.chdir(process.argv[1]); const fs = require('fs');" +
      "for (let i = 0; i < 3000; i++) { fs.writeFileSync('f', ''); fs.mkdirSync('d'); process.chdir('d'); }";
    execFileSync(process.execPath, ["-e", make, volume.inside("deep")]);
    const before = openDescriptors();
    let most = 0;
    const timer = setInterval(() => {
      most = Math.max(most, openDescriptors());
    }, 20);
    await volume.files.remove(path("/deep"), { recursive: true });
    clearInterval(timer);
    expect(readdirSync(volume.root)).toEqual([]);
    expect(most).toBeLessThan(before + 20);
  });
});

describe("a file is replaced at once", () => {
  test("readers see one of the contents, whole", { timeout: 60_000 }, async () => {
    const volume = new VolumeFolder();
    const contents = ["a", "b"].map((letter) => letter.repeat(300_000));
    await volume.write("/f", String(contents[0]));
    await volume.write("/source", String(contents[1]));
    let writing = true;
    const writer = (async () => {
      for (let round = 0; round < 20; round++) {
        await volume.write("/f", String(contents[0]));
        await volume.files.copy(path("/source"), path("/f"));
      }
      writing = false;
    })();
    let reads = 0;
    for (; writing; reads++) expect(contents).toContain((await volume.read("/f")).toString());
    await writer;
    expect(reads).toBeGreaterThan(5);
    expect(volume.uploads()).toEqual([]);
  });

  test("on a full disk the old one stays, nothing else does, and removing works", async () => {
    const home = smallDisk("2m");
    if (!home) return;
    const volume = new VolumeFolder(home);
    await volume.write("/target", "old");
    await volume.write("/tree/source", Buffer.alloc(1_200_000, 1));
    const full = { kind: "diskFull" };
    await expect(volume.files.copy(path("/tree/source"), path("/target"))).rejects.toMatchObject(full);
    await expect(volume.write("/target", Buffer.alloc(1_500_000, 1))).rejects.toMatchObject(full);
    expect((await volume.read("/target")).toString()).toBe("old");
    expect(volume.uploads()).toEqual([]);
    const { bavail, bsize } = statfsSync(home);
    writeFileSync(volume.inside("rest"), Buffer.alloc(bavail * bsize, 1));
    await expect(volume.write("/target", "new")).rejects.toMatchObject(full);
    await volume.files.remove(path("/tree"), { recursive: true });
    await volume.write("/target", "new");
    expect((await volume.read("/target")).toString()).toBe("new");
  });

  test("a copy ends when it is given up, and leaves nothing; holes stay holes", async () => {
    const volume = new VolumeFolder();
    execFileSync("truncate", ["--size=8T", volume.inside("sparse")]);
    const files = volume.store.named(volume.root, { owner: "test", signal: AbortSignal.abort() }, NO_QUOTA);
    const copied = files.copy(path("/sparse"), path("/never"));
    await expect(copied).rejects.toMatchObject({ kind: "requestTimeout" });
    await volume.files.copy(path("/sparse"), path("/far"));
    expect(statSync(volume.inside("far")).size).toBe(8 * 1024 ** 4);
    expect([existsSync(volume.inside("never")), volume.uploads()]).toEqual([false, []]);
    execFileSync("truncate", ["--size=20M", volume.inside("sparse")]);
    await volume.files.copy(path("/sparse"), path("/copy"));
    const [blocks, size] = execFileSync("stat", ["-c", "%b %s", volume.inside("copy")], { encoding: "utf8" })
      .split(" ")
      .map(Number);
    expect([size, (blocks ?? 0) < 1000]).toEqual([20 * 1024 * 1024, true]);
  });

  test("what a crash left goes at the next start; what is being written stays", async () => {
    const volume = new VolumeFolder();
    const left = join(volume.home, "gateway", "uploads", "0123456789abcdef");
    mkdirSync(left, { recursive: true });
    writeFileSync(join(left, "half"), "a beginning");
    let go = () => {};
    const going = new Promise<void>((resolve) => {
      go = resolve;
    });
    const content = async function* () {
      yield Buffer.from("one ");
      await volume.store.clean();
      go();
      yield Buffer.from("two");
    };
    const written = volume.files.write(path("/f"), content());
    await going;
    expect(existsSync(left)).toBe(false);
    await written;
    expect((await volume.read("/f")).toString()).toBe("one two");
  });
});

test("whatever a guest swaps meanwhile, nothing outside is read or changed", {
  timeout: 180_000,
}, async () => {
  const volume = new VolumeFolder();
  const outside = newFolder();
  mkdirSync(join(outside, "b"));
  for (const name of ["c", "b/c"]) writeFileSync(join(outside, name), "secret");
  const state = () => {
    const names = readdirSync(outside, { recursive: true }).map(String).sort();
    return [names, readFileSync(join(outside, "c"), "utf8"), readFileSync(join(outside, "b/c"), "utf8")];
  };
  const before = state();
  let swapping = true;
  let swaps = 0;
  // It makes a folder or a link beside, and puts it in the place of what is there.
  const guest = (async () => {
    for (; swapping; await turn()) {
      const [made, old] = [volume.inside(`made${++swaps}`), volume.inside(`old${swaps}`)];
      const name = volume.inside(swaps % 2 === 0 ? "a" : "c");
      if (swaps % 3 === 0) symlinkSync(swaps % 4 < 2 ? outside : join(outside, "c"), made);
      else {
        mkdirSync(made);
        if (swaps % 5 < 2) symlinkSync(join(outside, "b"), join(made, "b"));
        else mkdirSync(join(made, "b"));
        symlinkSync(join(outside, "c"), join(made, "c"));
      }
      if (lstatSync(name, { throwIfNoEntry: false })) renameSync(name, old);
      try {
        renameSync(made, name);
      } catch {
        // Between the two an operation under test has put something there.
        rmSync(made, { recursive: true, force: true });
      }
      rmSync(old, { recursive: true, force: true });
    }
  })();
  const at = fc.constantFrom("/a", "/a/b", "/a/b/c", "/c", "/a/c");
  try {
    // On a busy machine the guest has fewer turns: until it has had enough of them.
    for (let round = 0; round < 8 && (round === 0 || swaps <= 100); round++)
      await fc.assert(
        fc.asyncProperty(fc.array(operation(at), { minLength: 10, maxLength: 30 }), async (operations) => {
          await Promise.all(
            operations.map(async (each) => {
              const answer = await run(volume.files, each, "harmless").catch((error) => {
                expect(error).toBeInstanceOf(ServiceError);
              });
              expect(answer).not.toBe("secret");
            }),
          );
          expect(state()).toEqual(before);
        }),
        { numRuns: 20 },
      );
  } finally {
    swapping = false;
    await guest;
  }
  expect(swaps).toBeGreaterThan(100);
});
