import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { contextHash } from "../../../../components/image/context-hash";
import { giveProxy, proxyFile } from "../../../../components/image/deployer-proxy";

/** Number 3 of the public reports: a build behind a proxy. */

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "deployer-proxy-"));
  mkdirSync(join(folder, "build"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What a command of the build has of a variable. */
const inBuild = (name: string) =>
  execFileSync("sh", ["-c", `. "$0"; printf %s "\${${name}-}"`, join(folder, proxyFile)], {
    env: { PATH: process.env.PATH },
    encoding: "utf8",
  });

it("3: the environment's proxy is the build's, in both cases", () => {
  giveProxy(folder, {
    HOME: folder,
    HTTPS_PROXY: "http://it's:p%40ss$@proxy:3128",
    no_proxy: "localhost,.corp",
  });
  for (const name of ["https_proxy", "HTTPS_PROXY"])
    expect(inBuild(name)).toBe("http://it's:p%40ss$@proxy:3128");
  for (const name of ["no_proxy", "NO_PROXY"]) expect(inBuild(name)).toBe("localhost,.corp");
  expect(inBuild("http_proxy")).toBe("");
});

it("3: the docker client's goes before it", () => {
  writeFileSync(
    join(folder, "config.json"),
    JSON.stringify({ proxies: { default: { httpsProxy: "http://docker:3128" } } }),
  );
  giveProxy(folder, { DOCKER_CONFIG: folder, https_proxy: "http://shell:1", http_proxy: "http://shell:1" });
  expect(inBuild("https_proxy")).toBe("http://docker:3128");
  expect(inBuild("http_proxy")).toBe("http://shell:1");
});

it("3: a proxy makes no other image, and one that is gone is told to no build", () => {
  const before = contextHash(folder);
  giveProxy(folder, { HOME: folder, HTTP_PROXY: "http://proxy:3128" });
  expect(contextHash(folder)).toBe(before);
  const { mtimeMs } = statSync(join(folder, proxyFile));
  giveProxy(folder, { HOME: folder, HTTP_PROXY: "http://proxy:3128" });
  expect(statSync(join(folder, proxyFile)).mtimeMs).toBe(mtimeMs);
  giveProxy(folder, { HOME: folder });
  expect(existsSync(join(folder, proxyFile))).toBe(false);
});

it("3: nobody but its user reads it, which may have a password, also where an older one was open to all", () => {
  const mode = () => statSync(join(folder, proxyFile)).mode & 0o777;
  giveProxy(folder, { HOME: folder, HTTP_PROXY: "http://me:secret@proxy:3128" });
  expect(mode()).toBe(0o600);
  chmodSync(join(folder, proxyFile), 0o644);
  giveProxy(folder, { HOME: folder, HTTP_PROXY: "http://me:secret@proxy:3128" });
  expect(mode()).toBe(0o600);
});
