import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-interruption-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A command that works until it is interrupted; its clean-up says what it does, and takes a moment. */
const command = `
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { interruptible } from ${JSON.stringify(join(process.cwd(), "cli/interruption.ts"))};
import { runProgram } from ${JSON.stringify(join(process.cwd(), "setup/run-program.ts"))};
void runProgram(() => interruptible(async (signal) => {
  try {
    console.log("working");
    await sleep(60_000, undefined, { signal }).catch(() => { throw signal.reason; });
  } finally {
    for (const step of [1, 2, 3]) {
      process.stdout.write("cleaning up\\n");
      process.stderr.write("cleaning up\\n");
      await sleep(20);
    }
    writeFileSync(process.argv[2], "");
  }
}));
`;

it.each(
  (["SIGINT", "SIGTERM", "SIGHUP"] as const).flatMap((signal) => [
    { signal, reader: "there" },
    // A terminal that is gone, as after a lost SSH connection.
    { signal, reader: "gone" },
  ]),
)("$signal ends a command after its clean-up, with its reader $reader", async ({ signal, reader }) => {
  const [program, cleaned] = [join(folder, "command.mts"), join(folder, "cleaned")];
  writeFileSync(program, command);
  const child = spawn(process.execPath, ["--import", "tsx", program, cleaned]);
  const ended = new Promise((resolve) => child.once("exit", (...how) => resolve(how)));
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  if (reader === "gone") for (const stream of [child.stdout, child.stderr]) stream.destroy();
  child.kill(signal);
  // A second one, which a shell that ends sends, too.
  child.kill(signal);
  expect(await ended).toEqual([1, null]);
  expect(existsSync(cleaned)).toBe(true);
  if (reader === "there") expect(said).toBe(`${"cleaning up\n".repeat(3)}\nInterrupted.\n`);
});
