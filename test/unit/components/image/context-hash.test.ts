import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
    ["notes beside the sources", write("NOTES.md")],
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

it("holds all files of the image's context that git knows, and no other", async () => {
  const { stdout } = await exec("git", ["ls-files"], { cwd: context });
  const before = contextHash(context);
  const copy = join(folder, "copy");
  for (const file of stdout.split("\n")) cpSync(join(context, file), join(copy, file));
  expect(contextHash(copy)).toBe(before);
});
