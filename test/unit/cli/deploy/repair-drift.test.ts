import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Approve } from "../../../../cli/consent";
import type { StateResource } from "../../../../cli/deploy/drift";
import { repairDrift } from "../../../../cli/deploy/repair-drift";
import type { SetupHost } from "../../../../cli/stack";
import { createReporter } from "../../../../setup/report";
import { UserError } from "../../../../setup/user-error";

const path = process.env.PATH;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-drift-"));
  process.env.PATH = `${folder}:${path}`;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

const host = { name: "default", host: "local", baseName: "microsandbox-dev" } as SetupHost;
const resources: StateResource[] = [
  {
    ...{ urn: "urn:pulumi:dev::m::docker:index/container:Container::c", id: "c1" },
    ...{ type: "docker:index/container:Container" },
    outputs: { name: "microsandbox-dev-server", image: "sha256:i" },
  },
];

/**
 * An engine with one server.
 *
 * @param lists how the server is at each look
 * @param code how what ends a restore ends
 * @returns what it was asked to do, and what was said
 */
async function repaired(lists: string[], code: number, approve?: Approve) {
  writeFileSync(join(folder, "lists"), lists.map((each) => `${each}\n`).join(""));
  const docker = `#!/bin/sh
cd "${folder}"
case "$*" in
"ps "*)
  [ "$(head -n 1 lists)" != fails ] || exit 1
  printf 'container\\tc1\\tmicrosandbox-dev-server\\t%s\\tmicrosandbox\\tdev\\t%s\\n' "$(head -n 1 lists | cut -d , -f 1)" "$(head -n 1 lists | cut -d , -f 2)"
  [ ! -e claim ] || printf 'container\\tt1\\tmicrosandbox-dev-server-trial\\tcreated\\t\\t\\tCreated\\t\\tsha256:n\\n'
  sed -i 1d lists
  exit 0 ;;
"inspect "*) [ -s lists ] && echo restarting || echo running healthy; exit 0 ;;
*" ls "*) exit 0 ;;
"start "*) echo "$*" >>calls; [ ! -e no-start ] || { echo "Error response from daemon: no space left on device" >&2; exit 1; } ;;
"run "*) echo run >>calls; [ ${code} = 0 ] || { echo "disk is full" >&2; exit ${code}; } ;;
*) echo "$*" >>calls ;;
esac
`;
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
  writeFileSync(join(folder, "calls"), "");
  const said: string[] = [];
  const report = createReporter({ write: (line) => said.push(line) });
  const error = await repairDrift([host], resources, report, approve).then(() => undefined, String);
  return { calls: readFileSync(join(folder, "calls"), "utf8").trim().split("\n"), said, error };
}

it("ends a restore that was cut off before it starts the server", async () => {
  expect(await repaired(["exited,Exited"], 0)).toMatchObject({
    calls: ["run", "start c1"],
    error: undefined,
  });
});

it("says what docker could not do, in its own words", async () => {
  writeFileSync(join(folder, "no-start"), "");
  const { said, error } = await repaired(["exited,Exited"], 0);
  expect(said).toContainEqual(
    "docker start c1 failed on the host default: Error response from daemon: no space left on device",
  );
  expect(error).toBeUndefined();
});

it("leaves a server alone of which the engine can't say whether it is there", async () => {
  const { calls, said, error } = await repaired(["fails"], 0);
  const told = [expect.stringContaining("What is on the host default can't be listed: exit code 1")];
  expect({ calls, said, error }).toEqual({ calls: [""], said: told, error: undefined });
});

it("touches nothing that is not approved, and asks for nothing where there is nothing to do", async () => {
  const asked: string[] = [];
  const refuse: Approve = async (repairs) => {
    asked.push(...repairs);
    throw new UserError("Nothing was changed.");
  };
  for (const list of ["exited,Exited", "paused,Up 1 hour (Paused)", "restarting,Restarting"])
    expect(await repaired([list], 0, refuse)).toMatchObject({
      calls: [""],
      error: expect.stringContaining("Nothing was changed."),
    });
  expect(asked[0]).toBe(
    "The container microsandbox-dev-server was stopped: starting it and the sandboxes that ran in it.",
  );
  expect(await repaired(["running,Up 1 hour (healthy)"], 0, refuse)).toMatchObject({ error: undefined });
});

it("refuses to go on beside an upgrade that the host is to take back", async () => {
  writeFileSync(join(folder, "claim"), "");
  expect(await repaired(["exited,Exited"], 0)).toEqual({
    calls: [""],
    said: [],
    error: expect.stringMatching(/An upgrade was interrupted[\s\S]*wait, then[\s\S]*No host was changed/),
  });
});

it("leaves the server stopped where that fails, and says why", async () => {
  for (const list of ["exited,Exited", "restarting,Restarting"]) {
    const { calls, error } = await repaired([list], 1);
    expect(calls.join("\n")).toMatch(/^(stop c1\n)?run$/);
    expect(error).toMatch(/could not be finished: disk is full\n[\s\S]*stays stopped[\s\S]*npm run up/);
  }
});

it("starts a server whose image is gone: Pulumi brings it, and the server looks at its state", async () => {
  expect(await repaired(["exited,Exited"], 125)).toMatchObject({
    calls: ["run", "start c1"],
    error: undefined,
  });
});

it.each([
  ["refuses its state again and again", ["restarting,Restarting"]],
  [
    "runs for a moment at the first look",
    ["running,Up 1 second (health: starting)", "restarting,Restarting"],
  ],
])("stops a server that %s, and starts it once the restore is ended", async (_what, lists) => {
  expect(await repaired(lists, 0)).toMatchObject({ calls: ["stop c1", "run", "start c1"], error: undefined });
});

it("does not go on for ever with a server that ends whatever is done", async () => {
  const lists = Array.from({ length: 5 }, () => "restarting,Restarting");
  expect((await repaired(lists, 0)).calls).toEqual(["stop c1", "run", "start c1"]);
});
