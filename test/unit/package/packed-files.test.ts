import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { certificatesFile } from "../../../components/image/deployer-certificates";
import { proxyFile } from "../../../components/image/deployer-proxy";

const root = join(__dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "microsandbox-pack-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("packs what git knows, and nothing that an up has written there for this machine", () => {
  const packed = ["package.json", "PulumiPlugin.yaml", "docker", "emulated-host"];
  const known = execFileSync("git", ["ls-files", "-z", "--", ...packed], { cwd: root, encoding: "utf8" });
  const files = known.split("\0").filter(Boolean);
  for (const file of files) cpSync(join(root, file), join(folder, file), { recursive: true });
  // A proxy may have a password in its address.
  for (const file of [proxyFile, certificatesFile, "gateway/node_modules/any/index.js"]) {
    mkdirSync(dirname(join(folder, "docker", file)), { recursive: true });
    writeFileSync(join(folder, "docker", file), "export https_proxy=http://me:secret@proxy.test\n");
  }
  const pack = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const [{ files: listed }] = JSON.parse(
    execFileSync("npm", pack, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }),
  );
  const paths: string[] = listed.map(({ path }: { path: string }) => path);
  expect(paths.filter((path) => !files.includes(path))).toEqual([]);
  expect(paths.length).toBeGreaterThan(100);
});
