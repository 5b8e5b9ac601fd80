import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { outliving } from "../../../../components/host/scripts";
import { exec } from "../../../../setup/exec";
import { atFileEnd } from "../../../harness/file-end";

it.each([0, 3])(
  "ends with the script, also where that never looks for the end of its starter: code %i",
  async (code) => {
    const folder = mkdtempSync(join(tmpdir(), "outlive-test-"));
    atFileEnd(() => rmSync(folder, { recursive: true }));
    const run = await exec("sh", ["-s"], {
      input: outliving(`echo out; echo err >&2; exit ${code}`),
      env: { TMPDIR: folder },
      timeout: 30_000,
      reject: false,
    });
    expect(run).toMatchObject({ exitCode: code, stdout: "out", stderr: "err", timedOut: false });
    expect(readdirSync(folder)).toEqual([]);
  },
);
