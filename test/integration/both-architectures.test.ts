import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { projectRoot } from "../../toolchain/backend";
import { exec } from "../../toolchain/exec";
import { type Pulumi, pulumiWith } from "../../toolchain/pulumi";
import { silentReporter } from "../../toolchain/report";
import { ensureTools } from "../../toolchain/tools";
import { docker } from "../harness/docker";
import { PushRegistry } from "../harness/registry";
import { freePort } from "../harness/stack";

const program = ["--cwd", join(projectRoot, "test/integration/programs/images"), "--stack", "test-images"];
let pulumi: Pulumi;
let registry: PushRegistry;

beforeAll(async () => {
  registry = new PushRegistry(`127.0.0.1:${await freePort()}`);
  await registry.start();
  process.env.TEST_REGISTRY = registry.address;
  pulumi = pulumiWith(await ensureTools(silentReporter));
  await pulumi.read(["stack", "init", ...program]);
});
afterAll(async () => {
  await pulumi.read(["destroy", "--yes", "--skip-preview", ...program]);
  await pulumi.read(["stack", "rm", "--yes", "--force", ...program]);
  await registry.stop();
});

it("builds the image for amd64 and arm64 on one machine", async () => {
  await pulumi.read(["up", "--yes", "--skip-preview", ...program]);
  const references: string[] = JSON.parse(
    await pulumi.read(["stack", "output", "references", "--json", ...program]),
  );
  const platforms = references.map((reference) =>
    docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", reference),
  );
  expect(await Promise.all(platforms)).toEqual(["linux/amd64", "linux/arm64"]);
});

it("joins them in one tag of a registry", async () => {
  const name = "team/microsandbox-test-images";
  const tags = await registry.tags(name);
  const joint = tags.find((tag) => !tag.endsWith("64")) ?? "no joint tag";
  expect(tags).toEqual([joint, `${joint}-amd64`, `${joint}-arm64`]);
  const digests = await registry.digests(name, joint);
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

it("does not build anew when nothing has changed", async () => {
  const preview = await pulumi.read(["preview", "--expect-no-changes", ...program]);
  expect(preview).toMatch(/unchanged/);
});
