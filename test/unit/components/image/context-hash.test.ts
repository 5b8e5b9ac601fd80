import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contextHash } from "../../../../components/image/context-hash";
import { giveCertificates } from "../../../../components/image/deployer-certificates";
import { exec } from "../../../../setup/exec";
import { testCertificate } from "../../../harness/certificate";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "context-"));
  mkdirSync(join(folder, "sub"));
  writeFileSync(join(folder, "Dockerfile"), "FROM scratch\n");
  writeFileSync(join(folder, "sub", "file"), "content");
});
afterEach(() => rmSync(folder, { recursive: true }));

it("is the same where the checkout has moved", () => {
  const elsewhere = `${folder}-moved`;
  cpSync(folder, elsewhere, { recursive: true });
  expect(contextHash(elsewhere)).toBe(contextHash(folder));
  rmSync(elsewhere, { recursive: true });
});

it.each<[string, () => void]>([
  ["bytes", () => writeFileSync(join(folder, "sub", "file"), "Content")],
  ["a name", () => cpSync(join(folder, "sub", "file"), join(folder, "sub", "other"))],
  ["where a link leads", () => symlinkSync("file", join(folder, "sub", "link"))],
  [
    "what stands in which file",
    () => {
      writeFileSync(join(folder, "Dockerfile"), "FROM scratch\nc");
      writeFileSync(join(folder, "sub", "file"), "ontent");
    },
  ],
])("changes with %s", (_what, change) => {
  const before = contextHash(folder);
  change();
  expect(contextHash(folder)).not.toBe(before);
});

const context = join(__dirname, "../../../../docker");

describe("takes no notice of", () => {
  beforeEach(() => {
    cpSync(join(context, ".dockerignore"), join(folder, ".dockerignore"));
    // Folders that it lets through.
    for (const each of ["build", "gateway/src/http"]) mkdirSync(join(folder, each), { recursive: true });
    writeFileSync(join(folder, "build/make.sh"), "true");
  });
  const write = (name: string) => () => writeFileSync(join(folder, name), "left by somebody");
  it.each<[string, () => void]>([
    ["an editor's copy", write("build/make.sh~")],
    ["an editor's copy beside the Dockerfile", write("Dockerfile~")],
    ["an editor's swap file", write("gateway/src/.app.ts.swp")],
    ["an editor's autosave", write("gateway/src/http/#app.ts#")],
    ["an editor's lock, a link to nowhere", () => symlinkSync("me@host.1", join(folder, "build/.#make.sh"))],
    ["a file manager's notes", write("gateway/src/http/.DS_Store")],
    ["a merge's leftovers", write("gateway/src/app.ts.orig")],
    ["notes beside the sources", write("gateway/src/NOTES.md")],
    ["a build of the gateway", () => mkdirSync(join(folder, "gateway/dist"))],
    ["a file system where all may be run", () => chmodSync(join(folder, "build/make.sh"), 0o755)],
    ["the authorities of this machine", () => giveCertificates(folder, [authorities()])],
  ])("%s", (_what, change) => {
    const before = contextHash(folder);
    change();
    expect(contextHash(folder)).toBe(before);
  });

  it("and of nothing that the build gets", () => {
    const before = contextHash(folder);
    write("gateway/src/http/app.ts")();
    const first = contextHash(folder);
    write("build/other.sh")();
    expect(new Set([before, first, contextHash(folder)]).size).toBe(3);
  });
});

/** A folder with one authority and something else. */
function authorities(): string {
  const own = join(folder, "authorities");
  mkdirSync(own);
  writeFileSync(join(own, "company.crt"), testCertificate);
  writeFileSync(join(own, "README"), "no certificate");
  symlinkSync("nowhere", join(own, "gone.crt"));
  return own;
}

it("gives the build the authorities of this machine, and takes them back when there are none", () => {
  mkdirSync(join(folder, "build"));
  const own = authorities();
  giveCertificates(folder, [own, join(folder, "missing")]);
  expect(readdirSync(join(folder, "build"))).toEqual(["deployer-ca.pem"]);
  expect(readFileSync(join(folder, "build/deployer-ca.pem"), "utf8")).toBe(testCertificate);
  giveCertificates(folder, []);
  expect(readdirSync(join(folder, "build"))).toEqual([]);
});

/** Files of the image's context that git knows, and the folders that they are in. */
async function tracked() {
  const { stdout } = await exec("git", ["ls-files"], { cwd: context });
  const files = stdout.split("\n").filter((file) => file !== ".dockerignore");
  return { files, folders: [...new Set(files.map((file) => dirname(file)))] };
}

async function copyOfContext(): Promise<string> {
  const copy = join(folder, "copy");
  const { files } = await tracked();
  for (const file of [".dockerignore", ...files]) cpSync(join(context, file), join(copy, file));
  return copy;
}

it("holds all files of the image's context that git knows, and no other", async () => {
  expect(contextHash(await copyOfContext())).toBe(contextHash(context));
});

it("changes with each single file that git knows", async () => {
  const copy = await copyOfContext();
  const before = contextHash(copy);
  for (const file of (await tracked()).files) {
    appendFileSync(join(copy, file), "\n");
    expect(contextHash(copy), file).not.toBe(before);
    cpSync(join(context, file), join(copy, file));
  }
  expect(contextHash(copy)).toBe(before);
});

const word = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_ -]{0,8}$/);
const leftBeside = (file: string) =>
  fc.oneof(
    fc.constantFrom(
      `.#${file}`,
      `#${file}#`,
      `.${file}.swp`,
      `${file}~`,
      `.${file}.kate-swp`,
      `.nfs0000${file}`,
    ),
    fc
      .constantFrom("orig", "rej", "bak", "swp", "tmp", "old", "save", "1", "~1~")
      .map((end) => `${file}.${end}`),
    fc
      .tuple(word, fc.constantFrom("log", "md", "map", "swp", "pyc", "tmp", "txt~"))
      .map((name) => name.join(".")),
    word.map((name) => `.${name}`),
    fc.constantFrom(".DS_Store", "Thumbs.db", "desktop.ini", "node_modules"),
  );

it("takes no notice of what editors and others leave there, nor of modes and times", async () => {
  const copy = await copyOfContext();
  const before = contextHash(copy);
  const { files, folders } = await tracked();
  const stray = fc
    .record({ file: fc.constantFrom(...files), kind: fc.constantFrom("file", "folder", "link", "pipe") })
    .chain(({ file, kind }) =>
      leftBeside(basename(file)).map((name) => ({ path: join(copy, dirname(file), name), kind })),
    );
  const mode = fc.constantFrom(0o600, 0o644, 0o666, 0o700, 0o755, 0o777, 0o444);
  const scrambled = fc.record({
    strays: fc.array(stray, { minLength: 1, maxLength: 8 }),
    modes: fc.array(fc.tuple(fc.constantFrom(...files, ...folders), mode), { maxLength: 8 }),
  });
  fc.assert(
    fc.property(scrambled, ({ strays, modes }) => {
      const made = new Set<string>();
      for (const { path, kind } of strays) {
        if (made.has(path) || files.includes(relative(copy, path))) continue;
        made.add(path);
        if (kind === "file") writeFileSync(path, "left by somebody");
        else if (kind === "link") symlinkSync("me@host.1234:5678", path);
        else if (kind === "pipe") execFileSync("mkfifo", [path]);
        else {
          mkdirSync(path);
          writeFileSync(join(path, "index.ts"), "left by somebody");
        }
      }
      for (const [path, bits] of modes) {
        const isFolder = folders.includes(path);
        chmodSync(join(copy, path), isFolder ? bits | 0o700 : bits | 0o400);
        utimesSync(join(copy, path), bits, bits);
      }
      try {
        expect(contextHash(copy)).toBe(before);
      } finally {
        for (const path of made) rmSync(path, { recursive: true });
      }
    }),
    { numRuns: 100 },
  );
});
