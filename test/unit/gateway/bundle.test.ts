import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { bundleGateway } from "../../harness/gateway";
import { removeFolder } from "../../harness/remove-folder";

test("the server's program takes a byte of memory for each of its letters", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bundle-"));
  atFileEnd(() => removeFolder(folder));
  const script = join(folder, "server.cjs");
  await bundleGateway(script);
  // V8 holds the source; one letter beyond Latin-1, in a comment or a regular expression, makes all of them two bytes.
  const text = readFileSync(script, "utf8");
  const at = text.search(/[\u0100-\uffff]/);
  expect(at < 0 ? "" : text.slice(Math.max(0, at - 60), at + 60)).toBe("");
});
