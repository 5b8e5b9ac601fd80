import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import { restoreBody, TestGateway, temporaryFolder, until } from "./harness";

afterEach(() => vi.restoreAllMocks());

const BY_NAME = "/v1/snapshots/by-name/same";

async function started() {
  const gateway = await TestGateway.start();
  const box = (await gateway.create("box")).body.id as string;
  const take = () =>
    gateway.post("/v1/snapshots", { sandbox_id: box, name: "same", labels: {}, force: true });
  const current = async (): Promise<string | undefined> => (await gateway.get(BY_NAME)).body.location?.id;
  return { gateway, take, current };
}

const fileOf = (home: string, id: string) => join(home, "gateway", "snapshots", `${id}.json`);
const files = (home: string, id: string) => join(home, "snapshots", `s-${id}`);

/** A server that begins with the records that are on the disk of another one at this moment. */
async function afterCrash(home: string, onDisk: Map<string, string>): Promise<TestGateway> {
  const copy = temporaryFolder();
  mkdirSync(join(copy, "gateway", "snapshots"), { recursive: true });
  for (const name of readdirSync(join(home, "gateway", "snapshots"))) {
    // Where the disk had no room for the news, the record is as it was.
    const text =
      onDisk.get(name.slice(0, -".json".length)) ?? contentOf(join(home, "gateway", "snapshots", name));
    if (text !== undefined) writeFileSync(join(copy, "gateway", "snapshots", name), text);
  }
  return TestGateway.start({}, copy);
}

/** Undefined for a file that is gone by now. */
function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** The disk takes its time with the records of snapshots that are whole. */
function slowDisk(): () => void {
  let goOn: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const put = RecordStore.prototype.put;
  vi.spyOn(RecordStore.prototype, "put").mockImplementation(function (this: RecordStore<never>, record) {
    const done = put.call(this, record);
    return (record as { state?: string }).state === "active" ? done.then(() => held) : done;
  });
  return goOn;
}

describe("a name whose snapshot was replaced", () => {
  test("is nobody's once it was answered as removed, also while the new record is being written", async () => {
    const plans = fc.record({
      /** Snapshots that had the name before. */
      before: fc.integer({ min: 1, max: 3 }),
      called: fc.constantFrom("name" as const, "id" as const),
      /** Whether the disk took the news of the old one. */
      full: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(plans, async ({ before, called, full }) => {
        const { gateway, take, current } = await started();
        for (let taken = 0; taken < before; taken++) expect((await take()).status).toBe(202);
        const old = (await current()) as string;
        const onDisk = new Map(full ? [[old, readFileSync(fileOf(gateway.home, old), "utf8")]] : []);
        const goOn = slowDisk();
        const made = take();
        await until(async () => ((await current()) ?? old) !== old, "the new one");
        const path = called === "name" ? BY_NAME : `/v1/snapshots/${await current()}`;
        expect((await gateway.delete(path)).status).toBe(200);
        expect((await gateway.get(BY_NAME)).status).toBe(404);
        expect((await gateway.get("/v1/snapshots")).body.data).toEqual([]);
        const next = await afterCrash(gateway.home, onDisk);
        expect((await next.get(BY_NAME)).status).toBe(404);
        expect((await next.get("/v1/snapshots")).body.data).toEqual([]);
        goOn();
        await made;
        vi.restoreAllMocks();
        for (const each of [gateway, next]) {
          await until(
            async () => {
              await each.gateway.backend.sweep();
              return readdirSync(join(each.home, "gateway", "snapshots")).length === 0;
            },
            "all records to go",
            20_000,
          );
          await each.close();
        }
      }),
      { numRuns: 6, endOnFailure: true },
    );
  }, 120_000);

  test("stays nobody's for the next server while a restore still holds the old one", async () => {
    const { gateway, take, current } = await started();
    await take();
    const old = (await current()) as string;
    const before = readFileSync(fileOf(gateway.home, old), "utf8");
    writeFileSync(join(gateway.home, "fake", "boots"), "hang\n");
    const restoring = gateway.post("/v1/sandboxes?start=true", restoreBody("again", old));
    await until(() => gateway.calls().includes(old), "the restore");
    await take();
    const now = (await current()) as string;
    expect((await gateway.delete(BY_NAME)).status).toBe(200);
    await until(() => !existsSync(files(gateway.home, now)), "the new one's files to go");
    expect(existsSync(files(gateway.home, old))).toBe(true);
    const next = await afterCrash(gateway.home, new Map([[old, before]]));
    expect((await next.get(BY_NAME)).status).toBe(404);
    writeFileSync(join(gateway.home, "fake", "boots"), "fail\n");
    await restoring;
  });
});
