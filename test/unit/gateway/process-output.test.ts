import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { runProcess } from "../../../docker/gateway/src/backends/msb/process";
import { atFileEnd } from "../../harness/file-end";
import { temporaryFolder, until } from "./harness";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const MIB = 1024 * 1024;

function bytesHeld(): number {
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test("of what a process leaves behind nothing is kept, and it is not held up", async () => {
  const folder = temporaryFolder();
  const [go, done, end] = ["go", "done", "end"].map((name) => join(folder, name));
  // What is left writes once the result is there, and lives on.
  const child = `until [ -e ${go} ]; do sleep 0.05; done; head -c ${24 * MIB} /dev/zero; head -c ${4 * MIB} /dev/zero >&2
    : >${done}; until [ -e ${end} ]; do sleep 0.05; done`;
  const env = { PATH: process.env.PATH };
  const result = await runProcess("/bin/sh", ["-c", `echo said; { ${child}; } &`], {
    ...{ env, timeoutMs: 10_000, leavesChild: true },
  });
  atFileEnd(() => writeFileSync(end ?? "", ""));
  expect(result).toEqual({ code: 0, stdout: "said\n", stderr: "" });
  const before = bytesHeld();
  writeFileSync(go ?? "", "");
  await until(() => existsSync(done ?? ""), "all to be written", 20_000);
  // Buffers that are garbage are freed a little later.
  await until(() => bytesHeld() - before < 8 * MIB, "all of it to be dropped", 20_000);
}, 60_000);

test("what fails of a program is told of that program", async () => {
  const options = { env: { PATH: process.env.PATH }, timeoutMs: 60_000 };
  await expect(runProcess("head", ["-c", `${64 * MIB}`, "/dev/zero"], options)).rejects.toMatchObject({
    ...{ kind: "runtimeFailed", message: "head said too much" },
  });
  await expect(runProcess("/nowhere/du", ["/"], options)).rejects.toMatchObject({
    ...{ kind: "unavailable", message: "the server's program du can't be started" },
  });
});
