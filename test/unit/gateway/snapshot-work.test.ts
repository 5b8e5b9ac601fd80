import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import type { SnapshotCommands } from "../../../docker/gateway/src/backends/msb/snapshot-commands";
import { newSnapshotRecord, snapshotRecord } from "../../../docker/gateway/src/backends/msb/snapshot-record";
import {
  SnapshotWork,
  type SnapshotWorkOptions,
} from "../../../docker/gateway/src/backends/msb/snapshot-work";
import { temporaryFolder, until } from "./harness";

test("files go only when the record on the disk says so, whoever removes them", async () => {
  const folder = temporaryFolder();
  const log = { error: () => undefined, warn: () => undefined };
  const store = await RecordStore.open(folder, snapshotRecord, log);
  const onDisk: string[] = [];
  const remove: SnapshotCommands["remove"] = async ({ id }) => {
    onDisk.push(JSON.parse(readFileSync(join(folder, `${id}.json`), "utf8")).state);
  };
  const options = { store, log, commands: { remove } } as unknown as SnapshotWorkOptions;
  const work = new SnapshotWork(options);
  const want = { name: "one", labels: {}, owner: "ann", sandboxId: randomUUID(), force: false };
  const record = { ...newSnapshotRecord(want, null, randomUUID()), state: "active" as const };
  await store.put(record);
  const put = store.put({ ...record, state: "deleting" });
  work.sweep();
  await put;
  await until(() => store.size === 0, "the record to go");
  expect(onDisk).toEqual(["deleting"]);
});
