import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { docker } from "../harness/docker";
import { PushRegistry } from "../harness/registry";
import { freePort, TestStack } from "../harness/stack";

const inspect = (format: string, image: string) => docker("image", "inspect", "--format", format, image);
const prebuilt = new TestStack("test-prebuilt", {
  ...{ hostPort: 5871, privileged: false, kvmCheck: "off", volumes: { keep: false } },
});
const container = "microsandbox-test-prebuilt-server";
let registry: PushRegistry;
let line: string;

beforeAll(async () => {
  registry = new PushRegistry(`127.0.0.1:${await freePort()}`);
  await registry.start();
});
afterAll(async () => {
  await prebuilt.remove();
  await registry.stop();
});

it("pushes the image for both processors and prints the line that deploys it, and nothing else", async () => {
  const words = ["cli/bootstrap.mjs", "image", "push", `${registry.address}/team/server`];
  const { stdout } = await exec("node", words, { cwd: projectRoot, stdin: "ignore" });
  line = stdout.trim();
  expect(line).toMatch(
    /^npm run pulumi -- config set microsandbox:serverImage 127\.0\.0\.1:\d+\/team\/server@sha256:[0-9a-f]{64}$/,
  );
  const manifestList = (await registry.tags("team/server")).find((tag) => !tag.endsWith("64")) ?? "";
  expect(Object.keys(await registry.digests("team/server", manifestList)).sort()).toEqual(["amd64", "arm64"]);
  expect(await docker("images", "--quiet", "microsandbox-push")).toBe("");
});

it("leaves nothing after Ctrl+C in the middle of a build", async () => {
  const left = async () => [
    ...readdirSync(join(projectRoot, "cli/push-image")).filter((name) => name.startsWith("Pulumi.push-")),
    ...readdirSync(tmpdir()).filter(
      (name) => name.startsWith("microsandbox-push-") && !name.endsWith(".lock"),
    ),
    await docker("images", "--quiet", "microsandbox-push"),
  ];
  const words = ["cli/bootstrap.mjs", "image", "push", `${registry.address}/team/never`];
  const child = spawn("node", words, { cwd: projectRoot, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
    if (/RemoteImage .*creating/.test(said)) child.kill("SIGINT");
  });
  const [code] = await once(child, "close");
  expect(said).toMatch(/RemoteImage .*creating[\s\S]*Interrupted\. The image was not pushed/);
  expect(code).toBe(1);
  expect(await left()).toEqual([""]);
});

it("is deployed by that line, for the host's processor", async () => {
  prebuilt.configure({ serverImage: line.split(" ").at(-1) });
  const { exitCode, output } = await prebuilt.up();
  expect(exitCode, output).toBe(0);
  const image = await docker("inspect", "--format", "{{.Image}}", container);
  expect(await inspect("{{.Architecture}}", image)).toMatch(/amd64|arm64/);
  expect(await docker("images", "--quiet", "--filter", "reference=*/team/server")).toBe("");
});

it("refuses an image that holds another version, says what to set, and leaves the server as it is", async () => {
  const started = await docker("inspect", "--format", "{{.State.StartedAt}}", container);
  prebuilt.configure({ version: "0.6.18" });
  const { exitCode, output } = await prebuilt.up();
  expect(exitCode).not.toBe(0);
  expect(output).toMatch(
    /holds microsandbox 0\.7\.11[\s\S]*pulumi (?:-- )?config set microsandbox:version 0\.7\.11 --stack test-prebuilt/,
  );
  expect(await docker("inspect", "--format", "{{.State.StartedAt}}", container)).toBe(started);
});

it("keeps the same server where nothing has changed, with no registry to ask", async () => {
  const started = await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container);
  prebuilt.configure({ version: undefined });
  await registry.stop();
  const { exitCode, output } = await prebuilt.up();
  expect(exitCode, output).toBe(0);
  expect(await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container)).toBe(started);
});
