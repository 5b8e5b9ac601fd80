import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readNames } from "../../../docker/gateway/src/backends/msb/record-names";
import { handleOf, temporaryFolder } from "./harness";
import { bearer, withKeys } from "./with-keys";

test("tells what a sandbox is called by its client, the API and msb", async () => {
  const { gateway, create } = await withKeys([{ id: "ann", key: "a".repeat(32) }]);
  const { id } = (await create("a".repeat(32), "web")).body;
  const [named, ...others] = await readNames(gateway.home, "sandboxes");
  expect(named).toMatchObject({ id, name: "web", owner: "ann" });
  expect(gateway.made(named?.handle ?? "")?.status).toBe("Running");
  expect(others).toEqual([]);
});

test("tells the same of a volume", async () => {
  const key = "a".repeat(32);
  const { gateway } = await withKeys([{ id: "ann", key }]);
  const { body } = await gateway.request("POST", "/v1/volumes", {
    body: { name: "data" },
    headers: bearer(key),
  });
  const handle = handleOf(gateway.home, "data", "volumes");
  expect(await readNames(gateway.home, "volumes")).toEqual([
    { id: body.id, name: "data", owner: "ann", handle },
  ]);
});

test("reads records of any version, and past what is none", async () => {
  const home = temporaryFolder();
  expect(await readNames(home, "sandboxes")).toEqual([]);
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
  const found = await readNames(home, "sandboxes");
  expect(found.sort((one, other) => one.id.localeCompare(other.id))).toEqual([
    { id: "1", name: "a", owner: "ann", handle: "1" },
    { id: "2", name: "a", owner: null, handle: "a" },
  ]);
});
