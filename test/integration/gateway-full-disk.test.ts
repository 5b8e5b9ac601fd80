import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FakeMsb, faultyMsb } from "../harness/faults";
import { bundleGateway, createBody, GatewayProcess } from "../harness/gateway";
import { type Answered, KeptAliveClient } from "../harness/kept-alive";
import { writeKeyFile } from "../harness/key-file";
import { removeFolder } from "../harness/remove-folder";

/** The state volume is a file system of this size, and full to the last byte. */
const SIZE_MIB = 16;
const RESERVE_BYTES = (SIZE_MIB * 1024 * 1024) / 10;
/** The server looks at its disk once a second. */
const LOOKED_AT_WITHIN_MS = 10_000;
const TEMPORARY_KEY = { id: "revoked", key: `msb_${"b".repeat(64)}` };
const KEY = { id: "stays", key: `msb_${"a".repeat(64)}` };

const folder = mkdtempSync(join(tmpdir(), "gwf-"));
const home = join(folder, "h");
const keyFile = join(folder, "keys");
const script = join(folder, "gateway.cjs");
const ballast = join(home, "ballast");
let mounted = false;
let gateway: GatewayProcess;
let client: KeptAliveClient;

beforeAll(async () => {
  mkdirSync(home);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE_MIB}m`, "tmpfs", home]);
  mounted = true;
  // What the fake msb itself has to write is not what is tested: msb's own database is another's.
  for (const each of ["fake", "sandboxes"]) {
    mkdirSync(join(folder, each));
    symlinkSync(join(folder, each), join(home, each));
  }
  writeKeyFile(keyFile, [KEY, TEMPORARY_KEY]);
  await bundleGateway(script);
  await start();
});
afterAll(async () => {
  await gateway?.program.kill();
  if (mounted) execFileSync("umount", ["--lazy", home]);
  await removeFolder(folder);
});

/** Without a reserve of free space, which would refuse creates long before, the disk itself does. */
async function start({ reserveMib = 0 } = {}): Promise<void> {
  const env = {
    ...{ MSB_PATH: faultyMsb, DEV_MODE: "false", API_KEYS_FILE: keyFile },
    LIMIT_DISK_RESERVE_MIB: String(reserveMib),
  };
  gateway = await GatewayProcess.start({ script, home, log: join(folder, "gateway.log"), env });
  client = new KeptAliveClient(gateway.port, KEY.key);
}

/** Writes until there is not a byte left. */
function fillUp(): void {
  const file = openSync(ballast, "a");
  for (let size = 1 << 20; size >= 1; ) {
    try {
      writeSync(file, Buffer.alloc(size));
    } catch {
      size = Math.floor(size / 2);
    }
  }
  closeSync(file);
  expect(statfsSync(home).bavail, "free blocks").toBe(0);
}

/** Writes until there are only so many bytes left. */
function fillBut(bytes: number): void {
  const { bavail, bsize } = statfsSync(home);
  writeFileSync(ballast, Buffer.alloc(bavail * bsize - bytes));
}

const create = (name: string, query = "?start=true&wait_for=running") =>
  client.ask("POST", `/v1/sandboxes${query}`, { body: createBody(name) });
const created = async (name: string): Promise<string> => {
  const { status, body } = await create(name);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.id;
};
const path64 = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });
const upload = async (volume: string, bytes: number): Promise<number> => {
  const headers = { authorization: `Bearer ${KEY.key}`, ...path64("/file") };
  const url = `${gateway.url}/v1/volumes/${volume}/files/content`;
  // Not of zeros, which would be written as a hole.
  return (await fetch(url, { method: "PUT", headers, body: Buffer.alloc(bytes, 1) })).status;
};
const expectFull = ({ status, body }: Answered, what: string) =>
  expect([what, status, body.error?.code]).toEqual([what, 507, "quota_exceeded"]);

it("serves what frees, stops or shows, refuses what takes, and goes on when there is room again", async () => {
  const [stopped, deleted, shown] = [
    await created("stopped"),
    await created("deleted"),
    await created("shown"),
  ];
  const volume = (await client.ask("POST", "/v1/volumes", { body: { name: "data" } })).body.id;
  const old = (await client.ask("POST", "/v1/volumes", { body: { name: "old" } })).body.id;
  expect(await upload(volume, 1_000)).toBe(200);
  fillUp();

  expectFull(await create("new"), "a create that starts");
  expectFull(await create("new-too", ""), "a create that does not start");
  expectFull(await client.ask("POST", "/v1/volumes", { body: { name: "more" } }), "a new volume");
  fillUp();
  expect(await upload(volume, 100_000), "an upload").toBe(507);
  const read = await client.ask("GET", `/v1/volumes/${volume}/files/stat`, { headers: path64("/file") });
  expect([read.status, read.body.metadata?.size], "the file that an upload would have replaced").toEqual([
    200, 1_000,
  ]);

  for (const path of ["", `/${shown}`, "/by-name/shown"])
    expect((await client.ask("GET", `/v1/sandboxes${path}`)).status, path).toBe(200);
  expect((await client.ask("GET", "/v1/volumes")).status).toBe(200);

  const stop = await client.ask("POST", `/v1/sandboxes/${stopped}/stop`, { body: {} });
  expect([stop.status, stop.body.status], "stop").toEqual([200, "stopped"]);
  expect((await client.ask("GET", `/v1/sandboxes/${stopped}`)).body.status).toBe("stopped");

  fillUp();
  expect((await client.ask("DELETE", `/v1/sandboxes/${deleted}`)).status, "delete").toBe(200);
  expect((await client.ask("GET", `/v1/sandboxes/${deleted}`)).status).toBe(404);
  fillUp();
  expect((await client.ask("DELETE", `/v1/volumes/${old}`)).status, "delete of a volume").toBe(200);
  fillUp();
  const removed = await client.ask("DELETE", `/v1/volumes/${volume}/files`, { headers: path64("/file") });
  expect(removed.status, "delete of a file").toBe(200);

  fillUp();
  const other = new KeptAliveClient(gateway.port, TEMPORARY_KEY.key);
  expect((await other.ask("GET", "/v1/quotas")).status).toBe(200);
  writeKeyFile(keyFile, [KEY]);
  await expect.poll(async () => (await other.ask("GET", "/v1/quotas")).status, { timeout: 3_000 }).toBe(401);
  other.close();
  expect(gateway.program.running, "the gateway lives").toBe(true);

  rmSync(ballast);
  for (const name of ["new", "new-too"]) await created(name);
  expect(await upload(volume, 100_000)).toBe(200);
  const again = await client.ask("POST", `/v1/sandboxes/${stopped}/start?wait_for=running`, { body: {} });
  expect([again.status, again.body.status]).toEqual([200, "running"]);
  const names = (await client.ask("GET", "/v1/sandboxes")).body.data.map(
    ({ name }: { name: string }) => name,
  );
  expect(names.sort()).toEqual(["new", "new-too", "shown", "stopped"]);
  expect(new FakeMsb(home).sandboxes().size, "sandboxes of msb").toBe(4);
});

it("comes up on a full disk, and still removes", async () => {
  rmSync(ballast, { force: true });
  await created("before");
  fillUp();
  await gateway.program.kill();
  client.close();
  await start();
  expect((await client.ask("DELETE", "/v1/sandboxes/by-name/before")).status).toBe(200);
  expect((await client.ask("GET", "/v1/sandboxes/by-name/before")).status).toBe(404);
});

it("keeps its reserve for what frees, and refuses what takes before the disk itself does", async () => {
  rmSync(ballast, { force: true });
  await gateway.program.kill();
  client.close();
  // A tenth of the disk at most.
  await start({ reserveMib: 1024 });
  const id = await created("kept");
  const volume = (await client.ask("POST", "/v1/volumes", { body: { name: "of-the-reserve" } })).body.id;
  expect(await upload(volume, 1_000)).toBe(200);
  fillBut(RESERVE_BYTES / 2);
  const fullSoon = async () => (await create("refused")).status;
  await expect.poll(fullSoon, { timeout: LOOKED_AT_WITHIN_MS }).toBe(507);

  expectFull(await create("refused-too", ""), "a create that does not start");
  expectFull(await client.ask("POST", "/v1/volumes", { body: { name: "refused" } }), "a new volume");
  expect(await upload(volume, 1_000), "an upload that would fit").toBe(507);
  const stop = await client.ask("POST", `/v1/sandboxes/${id}/stop`, { body: {} });
  expect([stop.status, stop.body.status], "stop").toEqual([200, "stopped"]);
  expect((await client.ask("DELETE", `/v1/sandboxes/${id}`)).status, "delete").toBe(200);
  expect((await client.ask("DELETE", `/v1/volumes/${volume}`)).status, "delete of a volume").toBe(200);

  rmSync(ballast);
  await expect.poll(async () => (await create("again")).status, { timeout: LOOKED_AT_WITHIN_MS }).toBe(200);
});
