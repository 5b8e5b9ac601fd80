import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../../setup/project";
import { atFileEnd } from "../../harness/file-end";
import { bundle } from "../../harness/gateway";
import { removeFolder } from "../../harness/remove-folder";

test.each(["main.ts", "device-plugin/main.ts"])(
  "the program %s takes a byte of memory for each of its letters",
  async (entry) => {
    const folder = mkdtempSync(join(tmpdir(), "bundle-"));
    atFileEnd(() => removeFolder(folder));
    const script = join(folder, "program.cjs");
    await bundle(join(projectRoot, "docker/gateway/src", entry), script);
    // V8 holds the source; one letter beyond Latin-1, in a comment or a regular expression, makes all of them two bytes.
    const text = readFileSync(script, "utf8");
    const at = text.search(/[\u0100-\uffff]/);
    expect(at < 0 ? "" : text.slice(Math.max(0, at - 60), at + 60)).toBe("");
  },
);
