import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "./harness";
import { tell } from "./msb-world";
import { bearer, withKeys } from "./with-keys";

/** As many of one key wait for their turn, and run. */
const MOST = 260;
const MORE = 100;
/** Failed ones of one key that are told of. */
const MOST_FAILED = 20;

const labels = Object.fromEntries(Array.from({ length: 4 }, (_, at) => [`l${at}`, "x".repeat(1_000)]));

test("snapshots of one key that are refused or fail leave little on the disk, and no labels", async () => {
  const { gateway, create } = await withKeys(["ann", "bob"].map((id) => ({ id, key: id })));
  const { id } = (await create("ann", "box")).body;
  const folder = join(gateway.home, "gateway", "snapshots");
  const records = () =>
    readdirSync(folder).flatMap((file) => {
      if (!file.endsWith(".json")) return [];
      try {
        return [JSON.parse(readFileSync(join(folder, file), "utf8"))];
      } catch (error) {
        // It has just gone.
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw error;
      }
    });
  tell(gateway.home, "captures", "hang");
  const statuses: number[] = [];
  const ask = async (name: string) => {
    const body = { sandbox_id: id, name, labels };
    const answer = await gateway.request("POST", "/v1/snapshots", { body, headers: bearer("ann") });
    statuses.push(answer.status);
  };
  const all = Promise.allSettled(Array.from({ length: MOST + MORE }, (_, at) => ask(`s${at}`)));
  // A busy machine refuses some for the time that their bodies take.
  const refused = () => statuses.filter((status) => status === 503 || status === 429).length;
  await until(() => refused() >= MORE - 20, "the refusals", 120_000);
  expect(records().filter(({ state }) => state === "failed").length).toBeLessThanOrEqual(MOST_FAILED);
  // All that waited fail now, one after the other.
  tell(gateway.home, "captures", "fail");
  await until(() => records().every(({ state }) => state !== "making"), "the end of all", 120_000);
  await gateway.gateway.backend.sweep();
  await until(() => records().length <= MOST_FAILED, "all but the newest to go", 60_000);
  expect(records().map((record) => record.labels)).toEqual(records().map(() => ({})));
  await all;
}, 360_000);
