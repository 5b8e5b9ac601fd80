import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { buildLogFile, endOfFailed } from "../../../../components/image/build-log";
import { SandboxImage } from "../../../../components/image/sandbox-image";
import { exec } from "../../../../setup/exec";
import { registered } from "../../../harness/pulumi-mocks";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-build-log-"));
afterAll(() => rmSync(folder, { recursive: true }));

const good = "#1 begin\n#8 DONE 0.1s\n";
const failed = `#1 begin\n${"#7 a line\n".repeat(100)}#8 0.2 ERROR: x is not pinned
#8 ERROR: process did not complete successfully: exit code: 1\n------\n`;

function log(text: string): string {
  const file = join(folder, "image-build-test.log");
  writeFileSync(file, text);
  return file;
}

describe("the end of a build's log", () => {
  it("is what the step that failed has said, and what is before it is not shown", () => {
    const end = endOfFailed(log(failed));
    expect(end).toMatch(/image-build-test\.log\):\n[\s\S]*ERROR: x is not pinned/);
    expect(end).not.toContain("#1 begin");
  });

  it("is nothing where the build went well, or there was none", () => {
    expect(endOfFailed(log(good))).toBeUndefined();
    expect(endOfFailed(join(folder, "none"))).toBeUndefined();
  });

  it.each([
    [
      "interrupted, as Pulumi does where a resource fails",
      "process.kill(process.pid, 'SIGINT'); setTimeout(() => {}, 20000)",
      130,
    ],
    ["at its end", "", 0],
  ])("is said by the program that is %s; a log of before is not", async (_how, end, code) => {
    const file = log(failed);
    const program = (text: string) => `
      const { sayWhenBuildFails } = require("./components/image/build-log");
      sayWhenBuildFails(${JSON.stringify(file)});
      if (${JSON.stringify(text)}) require("node:fs").appendFileSync(${JSON.stringify(file)}, ${JSON.stringify(text)});
      ${end}`;
    const run = (text: string) =>
      exec("node", ["--import", "tsx", "--eval", program(text)], { reject: false });
    expect((await run("")).stderr).toBe("");
    const { exitCode, stderr } = await run(failed);
    expect(exitCode).toBe(code);
    expect(stderr.match(/x is not pinned/g)).toHaveLength(1);
    expect(readFileSync(file, "utf8")).toBe(failed);
  });
});

it("is in a file with the same path on every deployer, or in none where the checkout can't be written to", async () => {
  const resources = await registered(
    () =>
      new SandboxImage("image", {
        ...{ baseName: "test", architecture: "amd64", version: "0.7.11", debianVersion: "13.2-slim" },
      }),
  );
  const build = resources.find(({ type }) => type.endsWith(":RemoteImage"))?.inputs.build;
  expect(build.buildLogFile).toMatch(/^(.*\/)?image-build-dev-image\.log$/);
  expect(buildLogFile(join(folder, "no-folder"), "x")).toBeUndefined();
});
