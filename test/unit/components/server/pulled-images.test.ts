import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { pullCommand } from "../../../../components/server/pulled-images";
import { exec } from "../../../../setup/exec";

const folder = mkdtempSync(join(tmpdir(), "pulled-images-test-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the script with a docker whose `msb image inspect` and `msb pull` end so. */
async function pull(inspect: number, pulled: number) {
  const docker = join(folder, "docker");
  writeFileSync(
    docker,
    `#!/bin/sh\ncase "$*" in *inspect*) exit ${inspect} ;; esac\n[ ${pulled} = 0 ] || echo unreachable >&2\nexit ${pulled}\n`,
  );
  chmodSync(docker, 0o755);
  const input = pullCommand("alpine:3.22", "m-server", {});
  return exec("sh", ["-s"], { input, env: { PATH: `${folder}:${process.env.PATH}` }, reject: false });
}

it("takes the image from the cache, else from its registry", async () => {
  expect(await pull(0, 1)).toMatchObject({ exitCode: 0, stderr: "" });
  expect(await pull(1, 0)).toMatchObject({ exitCode: 0, stderr: "" });
});

it("that fails says that the server runs, and what to type", async () => {
  const { exitCode, stderr } = await pull(1, 1);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^unreachable\nThe image alpine:3\.22 .*The server itself runs\.\n/);
  expect(stderr).toMatch(/to go on without it: pulumi config rm microsandbox:images && pulumi up$/);
});
