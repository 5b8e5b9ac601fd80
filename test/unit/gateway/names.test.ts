import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readNames } from "../../../docker/gateway/src/backends/msb/names";
import { temporaryFolder } from "./harness";
import { withKeys } from "./with-keys";

test("tells what a sandbox is called by its client, the API and msb", async () => {
  const { gateway, create } = await withKeys([{ id: "ann", key: "a".repeat(32) }]);
  const { id } = (await create("a".repeat(32), "web")).body;
  const [named, ...others] = await readNames(gateway.home);
  expect(named).toMatchObject({ id, name: "web", owner: "ann" });
  expect(gateway.made(named?.handle ?? "")?.status).toBe("Running");
  expect(others).toEqual([]);
});

test("reads records of any version, and past what is none", async () => {
  const home = temporaryFolder();
  expect(await readNames(home)).toEqual([]);
  const folder = join(home, "gateway", "sandboxes");
  mkdirSync(folder, { recursive: true });
  const files = {
    "1.json": '{"id":"1","name":"a","owner":"ann","handle":"1","other":[]}',
    "2.json": '{"id":"2","name":"a"}',
    "3.json": "{",
    "4.json": "[]",
    "5.json.tmp": '{"id":"5","name":"a"}',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const found = await readNames(home);
  expect(found.sort((one, other) => one.id.localeCompare(other.id))).toEqual([
    { id: "1", name: "a", owner: "ann", handle: "1" },
    { id: "2", name: "a", owner: null, handle: "a" },
  ]);
});
