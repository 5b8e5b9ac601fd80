import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { projectRoot } from "../../../setup/project";

const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

it.each(["package-lock.json", "docker/gateway/package-lock.json"])(
  "%s has the hash of each package, and no registry's address",
  (file) => {
    const text = read(file);
    const { packages } = JSON.parse(text) as {
      packages: Record<string, { integrity?: string; link?: boolean }>;
    };
    // The project itself, and docker/gateway/bufferutil, which is a folder of it, are not fetched.
    const fetched = Object.entries(packages).filter(
      ([path, { link }]) => path.startsWith("node_modules/") && !link,
    );
    expect(fetched.length).toBeGreaterThan(50);
    const without = fetched.filter(([, { integrity }]) => !/^sha512-[\w+/]{86}==$/.test(integrity ?? ""));
    expect(without.map(([path]) => path)).toEqual([]);
    expect(text).not.toMatch(/"resolved": "(?!bufferutil")/);
  },
);

it("the image's downloads are those with a hash or a distribution's signature, and no others", () => {
  const scripts = readdirSync(join(projectRoot, "docker/build")).map((name) => read(`docker/build/${name}`));
  const build = [read("docker/Dockerfile"), ...scripts].join("\n").replaceAll("\\\n", " ");
  const commands = build.split("\n").filter((line) => !/^\s*(#|\*|HEALTHCHECK)/.test(line));
  const fetches = commands.filter((line) =>
    /\b(ADD|curl|wget|git clone|npm (ci|i|install)|pip3? (download|install)|apt-get (install|download))\b/.test(
      line,
    ),
  );
  for (const line of fetches)
    expect(line).toMatch(
      /npm ci |pip download .*--require-hashes|apt-get (install|download) -qq|xargs apt-get download/,
    );
  expect(fetches.length).toBe(4);
});

it("each wheel has the hash of each architecture", () => {
  for (const file of readdirSync(join(projectRoot, "docker/wheels"))) {
    const hashes = read(`docker/wheels/${file}`).match(/--hash=sha256:[0-9a-f]{64}\b/g);
    expect(new Set(hashes).size, file).toBe(2);
  }
});
