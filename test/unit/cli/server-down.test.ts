import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { unreachable } from "../../../cli/commands/import";
import { whyDown } from "../../../cli/server-down";
import type { SetupHost } from "../../../cli/stack";
import { silentReporter } from "../../../setup/report";

let folder = "";
const { PATH, XDG_DATA_HOME } = process.env;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "server-down-test-"));
  process.env.PATH = `${folder}:${PATH}`;
  process.env.XDG_DATA_HOME = join(folder, "data");
});
afterAll(() => {
  process.env.PATH = PATH;
  if (XDG_DATA_HOME === undefined) delete process.env.XDG_DATA_HOME;
  else process.env.XDG_DATA_HOME = XDG_DATA_HOME;
  rmSync(folder, { recursive: true });
});

/** What is told of a server whose docker client does this. */
async function told(script: string, mayBeStopped?: boolean): Promise<string | undefined> {
  const docker = join(folder, "docker");
  writeFileSync(docker, `#!/bin/sh\n${script}\n`);
  chmodSync(docker, 0o755);
  const server = { stack: "nc5", container: "m-nc5-server", connection: { kind: "local" } as const };
  return (await whyDown(server, silentReporter, mayBeStopped))?.message;
}

it("says nothing of a server that runs: the command has failed by itself", async () => {
  expect(await told("echo running")).toBeUndefined();
  expect(await told("echo exited", true)).toBeUndefined();
});

it.each([
  ["it is stopped", "echo exited", /m-nc5-server is not running \(exited\)/],
  [
    "its container is gone",
    "echo 'Error: No such object: m-nc5-server' >&2; exit 1",
    /its container is gone/,
  ],
  [
    "its engine does not answer",
    "echo 'Cannot connect to the Docker daemon' >&2; exit 1",
    /this machine does not answer\.\n {2}Cannot connect[^\n]*\n.*npm run doctor -- --stack nc5/,
  ],
])("says what is down and what to type: %s", async (_case, script, message) => {
  const text = await told(script);
  expect(text).toMatch(message);
  expect(text).toMatch(/npm run up -- --stack nc5$/);
});

it("says of a host over ssh that is off which one it is", async () => {
  const connection = { kind: "ssh", user: "root", address: "127.0.0.1", port: 1 } as const;
  const error = await whyDown({ stack: "nc5", container: "m-nc5-server", connection }, silentReporter);
  expect(error?.message).toMatch(
    /the host 127\.0\.0\.1 does not answer\.\n {2}\S.*\n.*\n.*npm run up -- --stack nc5$/,
  );
});

it("has nothing to import from an emulated host that was never made", async () => {
  const host = { name: "default", host: "emulated", baseName: "microsandbox-none" } as SetupHost;
  expect((await unreachable("none", host)).message).toMatch(
    /microsandbox-none does not exist\. To deploy: npm run up -- --stack none/,
  );
});
