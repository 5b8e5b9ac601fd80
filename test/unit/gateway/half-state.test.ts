import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { filesBelow } from "../../harness/files";
import { TestGateway, temporaryFolder } from "./harness";

const homeWith = (files: Record<string, string>): string => {
  const home = temporaryFolder();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(home, dirname(path)), { recursive: true });
    writeFileSync(join(home, path), text);
  }
  return home;
};

it.each<[string, Record<string, string>, RegExp]>([
  [
    "of a restore that has not moved anything yet",
    { "copies/.pending": "restored-20260131T180000Z\n", "db/msb.db": "old" },
    /^A restore was interrupted[\s\S]*run up for the stack that it belongs to: npm run up$/,
  ],
  [
    "of a restore that has moved all out",
    { "copies/.pending": "restored-20260131T180000Z\n", "copies/.failed/db/msb.db": "old" },
    /^A restore was interrupted/,
  ],
  [
    "of a rollback",
    { "copies/.pending": "0.6.18-20260101T000000Z\n", "copies/.failed/db/msb.db": "new" },
    /^The rollback of an upgrade was interrupted[\s\S]*npm run up$/,
  ],
])("a server refuses the half %s, and writes nothing to it", async (_what, files, message) => {
  const home = homeWith(files);
  await expect(TestGateway.start({}, home)).rejects.toThrow(message);
  expect(filesBelow(home)).toEqual(files);
});

const tried = { "copies/.pending": "0.6.18-20260101T000000Z\n", "db/msb.db": "new" };

it("a server refuses what another one was tried on; the one that is tried starts", async () => {
  const home = homeWith(tried);
  await expect(TestGateway.start({}, home)).rejects.toThrow(
    /^The test of an upgrade was interrupted[\s\S]*npm run up$/,
  );
  expect(filesBelow(home)).toEqual(tried);
  rmSync(join(home, "db"), { recursive: true });
  const { gateway } = await TestGateway.start({ RESUME_SANDBOXES: "false" }, home);
  expect(await gateway.backend.readiness()).toMatchObject({ ready: true });
});

it.each<[string, Record<string, string>]>([
  [
    "copies, and one that is to prove itself",
    { "copies/.unproven": "0.6.18-1\n", "copies/0.6.18-1/db/msb.db": "" },
  ],
  ["what a restore that was cut off has unpacked", { "copies/.part/db/msb.db": "" }],
  ["the end of a swap that was cut off there", { "copies/.moved": "restored-20260131T180000Z\n" }],
])("a server starts beside %s", async (_what, files) => {
  const { gateway } = await TestGateway.start({}, homeWith(files));
  expect(await gateway.backend.readiness()).toMatchObject({ ready: true });
});
