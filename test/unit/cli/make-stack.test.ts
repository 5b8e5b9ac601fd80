import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readKeys } from "../../../cli/keys/stack-keys";
import type { Pulumi } from "../../../cli/pulumi";
import { makeStack } from "../../../cli/stack";
import { silentReporter } from "../../../setup/report";

const folder = mkdtempSync(join(tmpdir(), "make-stack-test-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "Pulumi.new.yaml");

/** A Pulumi that has the stack or makes it, as the real one does with a passphrase. */
function pulumiWith(has: boolean) {
  const calls: string[] = [];
  let isThere = has;
  const read = async (args: string[]) => {
    calls.push(args.join(" "));
    if (args.includes("init") || args.includes("--create")) {
      if (!isThere) appendFileSync(file, "encryptionsalt: v1:x\n");
      isThere = true;
    } else if (!isThere) throw new Error("error: no stack named 'new' found");
    return "{}";
  };
  return { calls, read };
}

it.each([true, false])(
  "says once what making a stack adds to its settings file (selects it: %s)",
  async (selects) => {
    writeFileSync(file, "config: {}\n");
    const said: string[] = [];
    const report = { ...silentReporter, say: (line: string) => void said.push(line) };
    const pulumi = pulumiWith(false);
    await makeStack("new", pulumi, report, { selects, file });
    expect(said).toEqual([
      expect.stringMatching(/has added the line encryptionsalt to Pulumi\.new\.yaml: keep it/),
    ]);
    await makeStack("new", pulumi, report, { selects, file });
    expect(said).toHaveLength(1);
  },
);

it("makes no stack to read its keys", async () => {
  const pulumi = pulumiWith(false);
  const known = await readKeys("new", pulumi as unknown as Pulumi).catch(() => undefined);
  expect(pulumi.calls.filter((call) => call.startsWith("stack init") && !call.includes("--cwd"))).toEqual([]);
  expect(known?.isStackMade ?? false).toBe(false);
});
