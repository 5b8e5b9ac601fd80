import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { adopt, hostsForImport } from "../../../../cli/commands/import";
import type { SetupHost } from "../../../../cli/stack";
import { projectName } from "../../../../setup/project";
import { silentReporter } from "../../../../setup/report";

const path = process.env.PATH;
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-import-"));
  // The engine of a host that has the whole deployment of the stack `dev`.
  const labels = `${projectName()}\tdev`;
  const docker = `#!/bin/sh
[ "$1" != "$(cat "${folder}/unlisted")" ] || exit 1
case "$*" in
"ps "*) printf 'container\\tid1\\tbase-server\\trunning\\t${labels}\\tUp 2 hours (healthy)\\n' ;;
"volume ls "*) printf 'volume\\tbase-state\\tbase-state\\t\\t${labels}\\n' ;;
"network ls "*) printf 'network\\tnet1\\tbase\\t\\t${labels}\\n' ;;
"image ls "*) ;;
*) echo "$*" >>"${folder}/changes"; [ ! -f "${folder}/fails" ] ;;
esac
`;
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
  writeFileSync(join(folder, "changes"), "");
  writeFileSync(join(folder, "unlisted"), "");
  process.env.PATH = `${folder}:${path}`;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

const changes = () =>
  readFileSync(join(folder, "changes"), "utf8")
    .split("\n")
    .filter((line) => line !== "");
const host = (production = false) =>
  ({ name: "default", host: "local", baseName: "base", production }) as SetupHost;
const recorded = (id: string) => ({ urn: `urn:${id}`, type: "docker:index/x:X", id });
const all = ["stop id1", "rm id1", "network rm net1"];

it("is for hosts only: a cluster's servers are in no state that it could look at", () => {
  const values = { cluster: '{"servers":3}' };
  expect(() => hostsForImport("dev", { values })).toThrow(
    /^Stack dev is on a cluster: this command works on hosts only.*kubectl get pods --all-namespaces/s,
  );
  expect(hostsForImport("dev", { values: {} })).toHaveLength(1);
});

it("leaves a server alone that Pulumi's state has, and deploys nothing", async () => {
  const said: string[] = [];
  const reporter = { ...silentReporter, say: (line: string) => void said.push(line) };
  const known = [recorded("id1"), recorded("net1"), recorded("base-state")];
  expect(await adopt("dev", [host()], known, true, reporter)).toBe(false);
  expect(said.join("\n")).toMatch(/^Nothing to import: stack dev is deployed.*npm run up -- --stack dev$/);
  expect(changes()).toEqual([]);
});

it.each(["ps", "volume", "network", "image"])("changes nothing where docker %s fails", async (list) => {
  writeFileSync(join(folder, "unlisted"), list);
  await expect(adopt("dev", [host()], [], true, silentReporter)).rejects.toThrow("does not answer");
  expect(changes()).toEqual([]);
});

it("stops and removes a server and a network that the state has not", async () => {
  expect(await adopt("dev", [host()], [], undefined, silentReporter)).toBe(true);
  expect(changes()).toEqual(all);
  writeFileSync(join(folder, "changes"), "");
  // The state has another one: of before it was restored from a backup, say.
  expect(await adopt("dev", [host()], [recorded("id0")], undefined, silentReporter)).toBe(true);
  expect(changes()).toEqual(all);
});

it("asks before it stops one of a stack in production", async () => {
  await expect(adopt("dev", [host(true)], [], undefined, silentReporter)).rejects.toThrow(
    /Import stack dev \(base-server\)\? .*Nothing was changed\.\n.*npm run import -- --yes --stack dev/,
  );
  expect(changes()).toEqual([]);
  expect(await adopt("dev", [host(true)], [], true, silentReporter)).toBe(true);
  expect(changes()).toEqual(all);
});

it("never removes a server that could not be stopped", async () => {
  writeFileSync(join(folder, "fails"), "");
  await expect(adopt("dev", [host()], [], true, silentReporter)).rejects.toThrow(/docker stop id1 failed/);
  expect(changes()).toEqual(["stop id1"]);
});
