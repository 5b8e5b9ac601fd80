import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import * as backups from "../../../cli/commands/backup";
import { program } from "../../../cli/program";

const before = process.env.INIT_CWD;
afterEach(() => {
  vi.restoreAllMocks();
  if (before === undefined) delete process.env.INIT_CWD;
  else process.env.INIT_CWD = before;
});

/** The file that the command works on. */
async function fileOf(given: string): Promise<string | undefined> {
  const backup = vi.spyOn(backups, "backup").mockResolvedValue(undefined);
  await program().parseAsync(["backup", given], { from: "user" });
  return backup.mock.calls[0]?.[0];
}

it.each([
  ["a.tar", "/somewhere/a.tar"],
  ["../a.tar", "/a.tar"],
  ["/tmp/a.tar", "/tmp/a.tar"],
])("a file %s is one of the folder that npm was called in", async (given, expected) => {
  process.env.INIT_CWD = "/somewhere";
  expect(await fileOf(given)).toBe(expected);
});

it("a file is one of this folder without npm", async () => {
  delete process.env.INIT_CWD;
  expect(await fileOf("a.tar")).toBe(join(process.cwd(), "a.tar"));
});
