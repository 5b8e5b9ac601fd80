import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { expect, it } from "vitest";
import { clusterStack } from "../../../components/stack";

const root = join(__dirname, "../../..");
const kubernetes = "@pulumi/kubernetes";

/** The packages that a file loads when it is loaded, and those that it may load later. */
function packages(file: string): string[] {
  const { metafile } = buildSync({
    ...{ entryPoints: [join(root, file)], bundle: true, platform: "node", packages: "external" },
    ...{ write: false, metafile: true, outdir: "none", logLevel: "error" },
  });
  return Object.values(metafile.inputs).flatMap(({ imports }) =>
    imports.filter(({ external }) => external).map(({ path }) => path),
  );
}

it.each(["components/index.ts", "components/provider.ts"])(
  "what other projects load of the packed file, %s, needs no package for Kubernetes",
  (file) => {
    const found = packages(file);
    expect(found).toContain("@pulumi/docker");
    expect(found.filter((name) => name.startsWith(kubernetes))).toEqual([]);
  },
);

it("nor do the declarations in it", { timeout: 120_000 }, () => {
  const tsc = [
    createRequire(__filename).resolve("typescript/bin/tsc"),
    "--listFilesOnly",
    "--project",
    "package",
  ];
  const listed = execFileSync(process.execPath, tsc, { cwd: root, encoding: "utf8" }).split("\n");
  expect(listed).toContain(join(root, "components/index.ts"));
  expect(listed.filter((path) => path.includes(kubernetes) || path.includes("components/cluster"))).toEqual(
    [],
  );
});

it("the program of a stack on a cluster does, and says in a sentence where it is missing", () => {
  expect(packages("index.ts")).toContain(kubernetes);
  const missing = () => {
    const error = Object.assign(new Error(`Cannot find module '${kubernetes}'`), {
      code: "MODULE_NOT_FOUND",
    });
    throw error;
  };
  expect(() => clusterStack(missing)).toThrow(
    /^A stack on a cluster needs the npm package @pulumi\/kubernetes.*\n {2}to install it: npm ci --include=dev/,
  );
  const another = createRequire(__filename);
  expect(() => clusterStack(() => another("./none"))).toThrow(/Cannot find module '\.\/none'/);
});
