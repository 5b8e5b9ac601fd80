import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { canRunPrivileged, docker } from "../harness/docker";
import { freePort, TestStack } from "../harness/stack";

const container = "microsandbox-test-upgrade-server";
const home = "/var/lib/microsandbox";
let stack: TestStack;
let url: string;

beforeAll(async () => {
  const hostPort = await freePort();
  url = `http://127.0.0.1:${hostPort}`;
  stack = new TestStack("test-upgrade", {
    hostPort,
    version: "0.6.18",
    privileged: await canRunPrivileged(),
    kvmCheck: "device",
    stopTimeout: 5,
    volumes: '{"keep":false}',
    upgradeCopies: 1,
  });
});
afterAll(() => stack.remove());

async function up(): Promise<string> {
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  return output;
}

/** Listens on a port of loopback as soon as nobody else does. */
function takePort(port: number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", () => setTimeout(() => server.listen(port, "127.0.0.1"), 20));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

const inServer = (line: string) => docker("exec", container, "sh", "-c", line);
const sql = (statement: string) =>
  docker(
    ...["exec", container, "node", "--no-warnings", "-e"],
    `new (require("node:sqlite").DatabaseSync)("${home}/db/msb.db").exec(${JSON.stringify(statement)})`,
  );
const version = async () => (await (await fetch(`${url}/version`)).json()) as { msb: string };
const identity = () => docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container);

it("starts with an older version, and a state", async () => {
  await up();
  expect(await version()).toMatchObject({ msb: "0.6.18" });
  await inServer(`echo kept > ${home}/kept && echo kept > /workspace/kept && msb volume create data`);
});

it("gives state and server back where the new version can't use the state, and says why", async () => {
  // The migration of 0.7.11 makes an index of this name.
  await sql("create table idx_snapshot_index_snapshot_id(x)");
  const before = await docker("inspect", "--format", "{{.Id}}", container);
  stack.configure({ version: "0.7.11" });
  const { exitCode, output } = await stack.up();
  expect(exitCode).toBe(1);
  expect(output).toMatch(/does not become ready: msb does not answer: .*already a table named/);
  expect(output).toMatch(/Rolling back to the state[\s\S]*The previous server is running again after \d+ s/);

  expect(await docker("inspect", "--format", "{{.Id}}", container)).toBe(before);
  expect(await version()).toMatchObject({ msb: "0.6.18" });
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await inServer(`cat ${home}/kept ${home}/gateway/version; msb volume ls`)).toMatch(
    /kept\n0\.6\.18[\s\S]*data/,
  );
  expect(await inServer(`ls -A ${home}/copies`)).toBe("");
  // The version that runs is the one that is set again: nothing is left to do, and its image keeps its name.
  stack.configure({ version: "0.6.18" });
  await up();
  expect(await docker("inspect", "--format", "{{.Id}}", container)).toBe(before);
  const preview = await stack.pulumi("preview", "--refresh", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});

it("goes back with the state where the new server passes the trial and can't take the place of the old one", async () => {
  await sql("drop table idx_snapshot_index_snapshot_id");
  stack.configure({ version: "0.7.11" });
  // Once the old server has stopped, somebody else takes its port.
  const taken = takePort(Number(new URL(url).port));
  const { exitCode, output } = await stack.up();
  (await taken).close();
  expect(exitCode).toBe(1);
  expect(output).toMatch(/The new server is ready: replacing the old one/);
  expect(output).toMatch(/(port is already allocated|address already in use)/);
  expect(output).toMatch(
    /upgrade from microsandbox 0\.6\.18 is not finished[\s\S]*config set version 0\.6\.18/,
  );

  stack.configure({ version: "0.6.18" });
  const back = await up();
  expect(back).toMatch(/The upgrade to 0\.7\.11 was never finished: rolling back to the copy/);
  expect(await version()).toMatchObject({ msb: "0.6.18" });
  expect(await inServer(`cat ${home}/kept ${home}/gateway/version; msb volume ls`)).toMatch(
    /kept\n0\.6\.18[\s\S]*data/,
  );
  expect(await inServer(`ls -A ${home}/copies`), "and no way back from here").toMatch(
    /^0\.7\.11-\d{8}T\d{6}Z$/,
  );
});

it("takes the copy of an upgrade that was cut off, then upgrades, and says for how long it was away", async () => {
  await inServer(
    `cd ${home} && mkdir copies/cut && cp -a db gateway cache volumes kept copies/cut/ &&
     echo half-migrated > kept && echo 0.7.11 > gateway/version && echo cut > copies/.pending`,
  );
  stack.configure({ version: "0.7.11" });
  const preview = await stack.preview();
  expect(preview.output).toMatch(
    /What an up would do, in plain words:[\s\S]*state is copied[\s\S]*REPLACED \(changed: image/,
  );
  const output = await up();
  expect(output).toMatch(/An upgrade was interrupted: rolling back to the copy made before it \(cut\)/);
  expect(output).toMatch(/Upgraded from microsandbox 0\.6\.18 to 0\.7\.11: the service was down for \d+ s/);
  expect(await version()).toMatchObject({ msb: "0.7.11" });
  expect(await inServer(`cat ${home}/kept /workspace/kept ${home}/gateway/version; msb volume ls`)).toMatch(
    /kept\nkept\n0\.7\.11[\s\S]*data/,
  );
  expect(await inServer(`ls -A ${home}/copies`)).toMatch(/^0\.6\.18-\d{8}T\d{6}Z$/);
});

it("changes nothing when nothing has changed", async () => {
  const preview = await stack.pulumi("preview", "--refresh", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});

it("refuses a downgrade before it touches anything", async () => {
  const before = await identity();
  stack.configure({ version: "0.6.18" });
  const { exitCode, output } = await stack.up();
  expect(exitCode).toBe(1);
  expect(output).toMatch(
    /Refused: .*last used by microsandbox 0\.7\.11[\s\S]*were not changed[\s\S]*set microsandbox:version 0\.7\.11/,
  );
  expect(await identity()).toBe(before);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});
