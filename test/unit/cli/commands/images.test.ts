import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { archiveAt, pruneOptions } from "../../../../cli/commands/images";
import { UserError } from "../../../../setup/user-error";

test.each([
  [{}, {}],
  [{ olderThan: "7d" }, { olderThanSeconds: 604_800 }],
  [
    { olderThan: "90m", maxSize: "1.5G" },
    { olderThanSeconds: 5_400, maxBytes: 1_610_612_736 },
  ],
  [{ maxSize: "0" }, { maxBytes: 0 }],
])("%j is %j for the server", (limits, options) => {
  expect(pruneOptions(limits)).toEqual(options);
});

test.each([[{ olderThan: "7" }], [{ olderThan: "-1d" }], [{ olderThan: "" }], [{ maxSize: "much" }]])(
  "%j is refused",
  (limits) => {
    expect(() => pruneOptions(limits)).toThrow(UserError);
  },
);

test("an archive is read from its first byte; of what is none the answer says how to make one", async () => {
  const folder = mkdtempSync(join(tmpdir(), "images-test-"));
  try {
    const file = join(folder, "image.tar");
    writeFileSync(file, "content");
    expect(await text(await archiveAt(file))).toBe("content");
    const how = /Expected: an archive of an image\. To make one: docker save IMAGE > FILE\.tar$/;
    await expect(archiveAt(join(folder, "none.tar"))).rejects.toThrow(/it does not exist/);
    await expect(archiveAt(folder)).rejects.toThrow(/it is a folder/);
    await expect(archiveAt(folder)).rejects.toThrow(how);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
