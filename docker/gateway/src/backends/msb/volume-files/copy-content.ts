import { spawn } from "node:child_process";
import type { FileHandle } from "node:fs/promises";
import { diskFull, ServiceError } from "../../../errors";
import { withFirstSignal } from "../../../first-signal";
import type { DiskReserve } from "../../../limits/disk-reserve";
import { startError } from "../process";

/** How often the disk is looked at while a copy fills it. */
const CHECK_MS = 1_000;
const [SOURCE, TARGET] = [3, 4];

export type CopyContentOptions = { disk: DiskReserve; signal?: AbortSignal };

/**
 * Copies the content of an open file into another. GNU cp does it: it knows where a file has holes, which node can't
 * ask, so they cost nothing. It ends when the signal aborts, or the disk is full but for its reserve.
 * @throws ServiceError diskFull, runtimeFailed; the signal's reason
 */
export async function copyContent(
  source: FileHandle,
  target: FileHandle,
  { disk, signal }: CopyContentOptions,
): Promise<void> {
  const full = new AbortController();
  const timer = setInterval(() => disk.check().catch((error) => full.abort(error)), CHECK_MS);
  try {
    const { code, stderr } = await withFirstSignal([signal, full.signal], async (ends) => {
      ends.throwIfAborted();
      const result = await cp(source, target, ends);
      ends.throwIfAborted();
      return result;
    });
    if (code === 0) return;
    if (/No space left|quota exceeded/i.test(stderr)) throw diskFull();
    throw new ServiceError("runtimeFailed", "the file can't be copied", { cause: stderr });
  } finally {
    clearInterval(timer);
  }
}

function cp(source: FileHandle, target: FileHandle, ends: AbortSignal) {
  return new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    const paths = [`/proc/self/fd/${SOURCE}`, `/proc/self/fd/${TARGET}`];
    const child = spawn("cp", ["--sparse=always", "--", ...paths], {
      cwd: "/",
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      stdio: ["ignore", "ignore", "pipe", source.fd, target.fd],
    });
    const end = () => child.kill("SIGKILL");
    ends.addEventListener("abort", end, { once: true });
    let stderr = "";
    child.stderr?.setEncoding("latin1").on("data", (text) => {
      if (stderr.length < 4096) stderr += text;
    });
    child.once("error", (error: NodeJS.ErrnoException) => reject(startError(error)));
    child.once("close", (code) => {
      ends.removeEventListener("abort", end);
      resolve({ code, stderr });
    });
  });
}
