import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { program } from "../../../cli/program";

const asked = vi.hoisted(() => ({ file: "" }));
vi.mock("../../../cli/commands/backup", () => ({
  backup: (file: string) => {
    asked.file = file;
  },
  mebibytes: String,
}));
const before = process.env.INIT_CWD;
afterEach(() => {
  if (before === undefined) delete process.env.INIT_CWD;
  else process.env.INIT_CWD = before;
});

it.each([
  ["a.tar", "/somewhere/a.tar"],
  ["../a.tar", "/a.tar"],
  ["/tmp/a.tar", "/tmp/a.tar"],
])("a file %s is one of the folder that npm was called in", async (given, expected) => {
  process.env.INIT_CWD = "/somewhere";
  await program().parseAsync(["backup", given], { from: "user" });
  expect(asked.file).toBe(expected);
});

it("a file is one of this folder without npm", async () => {
  delete process.env.INIT_CWD;
  await program().parseAsync(["backup", "a.tar"], { from: "user" });
  expect(asked.file).toBe(join(process.cwd(), "a.tar"));
});
