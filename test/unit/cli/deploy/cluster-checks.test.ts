import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { checkCluster } from "../../../../cli/deploy/cluster-checks";
import type { StateResource } from "../../../../cli/deploy/drift";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { freePort } from "../../../harness/stack";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-cluster-checks-"));
  // It answers nobody, and tells by whose file it was to look for a cluster.
  program("kubectl", 'echo "no route to the cluster of $KUBECONFIG" >&2; exit 1');
});
afterEach(() => rmSync(folder, { recursive: true }));

const program = (name: string, text: string) =>
  writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });

/** What is found where `emulated-cluster.sh status` says this. */
async function found(status: object, resources: StateResource[] = []) {
  const answer = JSON.stringify({ kubeconfig: "/clusters/kubeconfig", ...status });
  program("bash", `[ "$2 $3" = "status microsandbox-try" ] && echo '${answer}'`);
  const settings = parseSettings({ cluster: { servers: 2, emulated: { nodes: 2 } }, hostPort });
  const environment = { PATH: `${folder}:${process.env.PATH}` };
  return checkCluster(settings, { stack: "try", resources, environment });
}
let hostPort = 0;
beforeEach(async () => {
  hostPort = await freePort();
});

const type = "microsandbox:index:EmulatedCluster";
const made = [{ urn: `urn:pulumi:try::microsandbox::${type}::microsandbox-emulated`, type }];

it("an emulated cluster that does not run is no fault: an up makes or starts it, and the user's own is not looked at", async () => {
  expect(await found({ running: false })).toEqual([
    { verdict: "fixes", what: expect.stringContaining("does not run yet"), remedy: "`npm run up` makes it." },
  ]);
  expect(await found({ running: false }, made)).toMatchObject([
    { verdict: "fixes", remedy: "`npm run up` starts it." },
  ]);
});

it("its port may be another program's, unless it is the cluster's own way in", async () => {
  const occupant = createServer();
  await new Promise<void>((ready) => occupant.listen(hostPort, "127.0.0.1", ready));
  try {
    expect(await found({ running: false })).toMatchObject([
      { verdict: "stops", what: `Port ${hostPort} of 127.0.0.1 is taken` },
    ]);
    expect(await found({ running: false }, made)).toMatchObject([{ verdict: "fixes" }]);
  } finally {
    occupant.close();
  }
});

it("one that runs is looked at by its own kubeconfig", async () => {
  const [{ verdict, what } = { verdict: "", what: "" }] = await found({ running: true });
  expect([verdict, what]).toEqual(["stops", expect.stringContaining("the cluster of /clusters/kubeconfig")]);
});
