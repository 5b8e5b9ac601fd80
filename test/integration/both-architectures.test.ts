import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { findBackend } from "../../cli/backend";
import { type Pulumi, pulumiWith } from "../../cli/pulumi";
import { giveCertificates } from "../../components/image/deployer-certificates";
import { giveProxy } from "../../components/image/deployer-proxy";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { silentReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { docker } from "../harness/docker";
import { PushRegistry } from "../harness/registry";
import { freePort } from "../harness/stack";

const program = ["--cwd", join(projectRoot, "test/integration/programs/images"), "--stack", "test-images"];
const gatewayLock: {
  packages: Record<string, { version?: string; dev?: boolean; resolved?: string }>;
} = JSON.parse(readFileSync(join(projectRoot, "docker/gateway/package-lock.json"), "utf8"));

/** Declarations of types, which a dependency names: nothing of them is in a bundle, and npm lists none. */
const TYPES = /\/(@types\/[^/]+|undici-types)$/;

/** What is read of a bill of materials. */
interface Bill {
  $schema: string;
  components: {
    name: string;
    purl: string;
    hashes?: { content: string }[];
    properties?: { name: string; value: string }[];
  }[];
}

let pulumi: Pulumi;
let registry: PushRegistry;
const scratch = mkdtempSync(join(tmpdir(), "microsandbox-images-"));

beforeAll(async () => {
  registry = new PushRegistry(`127.0.0.1:${await freePort()}`);
  await registry.start();
  process.env.TEST_REGISTRY = registry.address;
  pulumi = pulumiWith(await ensureTools(silentReporter), findBackend(), silentReporter);
  await pulumi.read(["stack", "init", ...program]);
});
afterAll(async () => {
  await pulumi.read(["destroy", "--yes", "--skip-preview", ...program]);
  await pulumi.read(["stack", "rm", "--yes", "--force", ...program]);
  await registry.stop();
  rmSync(scratch, { recursive: true });
});

const output = async (name: "references" | "again"): Promise<string[]> =>
  JSON.parse(await pulumi.read(["stack", "output", name, "--json", ...program]));

it("builds the image for amd64 and arm64 on one machine", async () => {
  await pulumi.read(["up", "--yes", "--skip-preview", ...program]);
  const references = await output("references");
  const platforms = references.map((reference) =>
    docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", reference),
  );
  expect(await Promise.all(platforms)).toEqual(["linux/amd64", "linux/arm64"]);
});

it("joins them in one tag of a registry", async () => {
  const name = "team/microsandbox-test-images";
  const tags = await registry.tags(name);
  const manifestList = tags.find((tag) => !tag.endsWith("64")) ?? "no manifestList tag";
  expect(tags).toEqual([manifestList, `${manifestList}-amd64`, `${manifestList}-arm64`]);
  const digests = await registry.digests(name, manifestList);
  expect(Object.keys(digests).sort()).toEqual(["amd64", "arm64"]);
  expect(digests.amd64).not.toBe(digests.arm64);
});

it("puts programs of that architecture into it", async () => {
  const machines = { amd64: "x86-64", arm64: "aarch64" };
  for (const [architecture, machine] of Object.entries(machines)) {
    const reference = (
      await docker("images", "--format", "{{.Repository}}:{{.Tag}}", "microsandbox-test-images")
    )
      .split("\n")
      .find((name) => name.includes(architecture));
    expect(reference).toBeDefined();
    const id = await docker("create", reference ?? "", "true");
    for (const file of ["/usr/local/bin/node", "/usr/local/bin/msb"]) {
      const header = await exec("sh", [
        "-c",
        `docker cp ${id}:${file} - | tar -xO | head -c 20 | od -An -tx1 -j18 -N2`,
      ]);
      // e_machine of the ELF header: 0x3e is x86-64, 0xb7 is aarch64.
      expect(header.stdout.trim(), `${file} for ${machine}`).toBe(
        architecture === "amd64" ? "3e 00" : "b7 00",
      );
    }
    await docker("rm", id);
  }
});

/** A file of an image, as text. */
async function fileIn(image: string, path: string): Promise<string> {
  const id = await docker("create", image, "true");
  try {
    return (await exec("sh", ["-c", `docker cp ${id}:${path} - | tar -xO`])).stdout;
  } finally {
    await docker("rm", id);
  }
}

const billOf = async (image: string): Promise<Bill> =>
  JSON.parse(await fileIn(image, "/usr/share/microsandbox/sbom.cdx.json"));

it("says in the image what is in it: each Debian and npm package, node, msb and the guests' kernel", async () => {
  for (const image of await output("references")) {
    const bill = await billOf(image);
    const named = bill.components.map(({ purl }) => decodeURIComponent(purl.replace(/\?.*/, "")));
    const control = await fileIn(image, "/var/lib/dpkg/status.d");
    const field = (name: string) =>
      [...control.matchAll(new RegExp(`^${name}: (.+)`, "gm"))].map(([, value]) => value);
    const [packages, versions] = [field("Package"), field("Version")];
    expect(packages).toContain("libc6");
    const debian = packages.map((name, index) => `pkg:deb/debian/${name}@${versions[index]}`);
    const npm = Object.entries(gatewayLock.packages)
      .filter(([path, { dev }]) => path.startsWith("node_modules/") && !dev && !TYPES.test(path))
      .map(([path, { version, resolved }]) => [
        path.split("node_modules/").at(-1),
        version ?? gatewayLock.packages[resolved ?? ""]?.version,
      ])
      .map(([name, version]) => `pkg:npm/${name}@${version}`);
    expect(npm).toContain("pkg:npm/fastify@5.12.8");
    expect(named.filter((name) => /^pkg:(deb|npm)/.test(name)).sort()).toEqual(
      [
        ...new Set([...debian, ...npm, `pkg:npm/microsandbox-gateway@${gatewayLock.packages[""]?.version}`]),
      ].sort(),
    );

    expect(named).toContain("pkg:pypi/microsandbox@0.7.11");
    const rest = bill.components.filter(({ purl }) => !/^pkg:(deb|npm)/.test(purl));
    expect(rest.map(({ name }) => name)).toEqual(["node", "msb", "libkrunfw", "linux"]);
    for (const { name, hashes: [hash] = [], properties } of rest.slice(0, 3)) {
      const path = properties?.find((each) => each.name === "path")?.value ?? "no path";
      const id = await docker("create", image, "true");
      const sum = await exec("sh", ["-c", `docker cp ${id}:${path} - | tar -xO | sha256sum`]);
      await docker("rm", id);
      expect(sum.stdout.slice(0, 64), name).toBe(hash?.content);
    }
    expect(JSON.stringify(bill).match(/https?:[^"]*/g)).toEqual([bill.$schema]);
  }
});

/** A checkout of somebody else's: what git knows of the image's context, with other modes, and what editors leave. */
async function otherCheckout(): Promise<string> {
  const folder = join(scratch, "docker");
  const lines = [
    `mkdir ${folder} && git -C docker ls-files -z | tar -C docker --null -T - -c | tar -x -C ${folder} && cd ${folder}`,
    "find . -type f -exec chmod 600 {} + && find . -type d -exec chmod 700 {} +",
    "chmod 777 gateway/src/*.ts && chmod -x build/*.sh",
    "touch Dockerfile~ build/make-rootfs.sh.orig gateway/src/.app.ts.swp gateway/src/http/notes.md",
    "ln -s me@host.1:2 .#Dockerfile && ln -s me@host.1:2 build/.#make-rootfs.sh",
  ];
  await exec("sh", ["-c", lines.join(" && ")], { cwd: projectRoot });
  // The same machine's, since the downloads go through what it does.
  giveCertificates(folder);
  giveProxy(folder);
  return folder;
}

it("is the same, layer for layer, when it is built again without a cache, from another checkout", async () => {
  process.env.TEST_CONTEXT = await otherCheckout();
  const layers = (image = "") => docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image);
  const debian = async (image = "") =>
    (await billOf(image)).components.filter(({ purl }) => purl.startsWith("pkg:deb"));
  let [first] = await output("references");
  process.env.TEST_BUILDS_AGAIN = "1";
  await pulumi.read(["up", "--yes", "--skip-preview", ...program]);
  let [second] = await output("again");
  if (JSON.stringify(await debian(first)) !== JSON.stringify(await debian(second))) {
    console.log(
      "Debian has other packages than when the build cache was filled: comparing two builds of now",
    );
    process.env.TEST_BUILDS_AGAIN = "2";
    await pulumi.read(["up", "--yes", "--skip-preview", ...program]);
    [first, second] = await output("again");
  }
  expect(second).not.toBe(first);
  expect(await layers(second)).toBe(await layers(first));
});

it("does not build anew when nothing has changed", async () => {
  const preview = await pulumi.read(["preview", "--expect-no-changes", ...program]);
  expect(preview).toMatch(/unchanged/);
});

it("shows why a build failed, in the output of plain pulumi", async () => {
  process.env.TEST_VERSION = "9.9.9";
  const up = pulumi.read(["up", "--yes", "--skip-preview", ...program]);
  await expect(up).rejects.toThrow(/microsandbox 9\.9\.9 is not pinned/);
});
