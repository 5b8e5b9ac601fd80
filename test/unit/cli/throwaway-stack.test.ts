import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { withThrowawayStack } from "../../../cli/throwaway-stack";

const program = mkdtempSync(join(tmpdir(), "microsandbox-program-"));
afterAll(() => rmSync(program, { recursive: true }));

it("two runs of one program at once have settings files and backends of their own, and leave none", async () => {
  const backends: string[] = [];
  let endSecond = () => {};
  const firstIsGone = new Promise<void>((resolve) => {
    endSecond = resolve;
  });
  const run = (text: string, after: Promise<void>) =>
    withThrowawayStack(program, async (name, backend) => {
      backends.push(backend);
      const file = join(program, `Pulumi.${name}.yaml`);
      writeFileSync(file, text);
      await after;
      return readFileSync(file, "utf8");
    });
  const second = run("second", firstIsGone);
  expect(await run("first", Promise.resolve())).toBe("first");
  endSecond();
  expect(await second).toBe("second");
  expect(new Set(backends).size).toBe(2);
  expect(readdirSync(program)).toEqual([]);
  for (const backend of backends) expect(existsSync(new URL(backend))).toBe(false);
  await expect(withThrowawayStack(program, () => Promise.reject(new Error("failed")))).rejects.toThrow(
    "failed",
  );
});
