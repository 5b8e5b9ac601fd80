/** The arm64 image on an emulated arm64 host: a microVM of that architecture, driven by an official client. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { pythonClient } from "../harness/clients";
import { freePort, TestStack } from "../harness/stack";

let stack: TestStack;
let url: string;

beforeAll(async () => {
  const hostPort = await freePort();
  url = `http://127.0.0.1:${hostPort}`;
  stack = new TestStack("test-arm64", {
    host: "emulated",
    architecture: "arm64",
    hostPort,
    kvmCheck: "boot",
    devMode: true,
    volumes: '{"keep":false}',
  });
  await stack.removeLeftovers();
});
afterAll(() => stack.remove());

it("deploys to a host of another architecture than this machine's", async () => {
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  expect(output).toContain(`Ready: ${url}`);
});

it("says hello from an arm64 microVM", async () => {
  const { exitCode, stdout, output } = await stack.sandbox("run", "starter", "--", "uname", "-m");
  expect(exitCode, output).toBe(0);
  expect(stdout.trim()).toBe("aarch64");
});

it("serves an official client", async () => {
  const { msb } = await pythonClient("0.7.11");
  const env = { MSB_BACKEND: "cloud", MSB_API_URL: url, MSB_API_KEY: "dev" };
  const client = (...args: string[]) => exec(msb, args, { env, stdin: "ignore" });
  await client("create", "starter", "--name", "arm");
  expect((await client("exec", "arm", "--", "uname", "-m")).stdout.trim()).toBe("aarch64");
  await client("rm", "--force", "arm");
  expect((await client("ls", "--format", "json")).stdout).not.toContain('"arm"');
});

it("changes nothing when nothing has changed", async () => {
  const refreshed = await stack.pulumi("up", "--refresh", "--yes", "--skip-preview");
  expect(refreshed.exitCode, refreshed.output).toBe(0);
  expect(refreshed.output).toMatch(/Resources:\s+\d+ unchanged/);
});
