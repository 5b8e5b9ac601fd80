import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { prepare } from "../../../../cli/commands/setup";
import { silentReporter } from "../../../../setup/report";

const path = process.env.PATH;
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-setup-"));
  // All packages are there, and the engine has the images in the file `has`.
  const server = { Version: "28.0.0", ApiVersion: "1.48", Os: "linux", Arch: "amd64", Components: [] };
  program("dpkg-query", 'shift 2; for name; do echo "$name installed"; done');
  program(
    "docker",
    `case "$*" in
"version "*) echo '${JSON.stringify(server)}' ;;
"image inspect "*) for last; do :; done; grep -q "$last" ${folder}/has ;;
*) for last; do :; done; echo "$1 $last" >>${folder}/done ;;
esac`,
  );
  for (const file of ["has", "done"]) writeFileSync(join(folder, file), "");
  process.env.PATH = `${folder}:${path}`;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

const program = (name: string, text: string) =>
  writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });

/** What was got for the stack of two emulated nodes that comes with the project. */
async function got(settings: Record<string, string>): Promise<string[]> {
  const cluster = JSON.stringify({ servers: 2, emulated: { nodes: 2 } });
  await prepare("cluster-emulated", { values: { cluster, ...settings } }, silentReporter);
  return readFileSync(join(folder, "done"), "utf8").split("\n").filter(Boolean);
}

it("for an emulated cluster, gets the base image that its settings name", async () => {
  const settings = { debianVersion: "12.5-slim", registryPrefix: "mirror.test/" };
  expect(await got(settings)).toEqual(["pull mirror.test/debian:12.5-slim"]);
});

it("and gets none where the server's image is built already", async () => {
  writeFileSync(join(folder, "has"), ".*\n");
  program("grep", "exit 0");
  expect(await got({})).toEqual([]);
});
