import type { FastifyBaseLogger } from "fastify";
import * as z from "zod";
import type { Msb } from "./command-line";

const listed = z.array(z.object({ name: z.string(), status: z.string() }));

/** The states in which a microVM has a process. */
const ALIVE = new Set(["running", "starting", "paused", "draining"]);

/**
 * Stops every running sandbox, all at once. A container that ends without this loses what
 * guests wrote and did not sync. Resolves, at the latest, after the timeout.
 *
 * @param note is told the names before any of them is stopped
 */
export async function stopSandboxes(
  msb: Msb,
  log: FastifyBaseLogger,
  timeoutSeconds: number,
  note: (names: string[]) => Promise<void>,
): Promise<void> {
  const timeoutMs = timeoutSeconds * 1000;
  const deadline = Date.now() + timeoutMs;
  const all = listed.parse(await msb.json(["ls"], { timeoutMs: Math.max(timeoutMs, 1_000) }));
  const names = all.filter((each) => ALIVE.has(each.status.toLowerCase())).map((each) => each.name);
  await note(names).catch((error) =>
    log.error({ err: String(error) }, "they will not start again by themselves"),
  );
  if (names.length === 0) return;
  log.info({ sandboxes: names }, "stopping the running sandboxes");
  const left = Math.max(deadline - Date.now(), 1_000);
  const results = await Promise.allSettled(
    names.map((name) => msb.ok(["stop", "-q", "--", name], { timeoutMs: left })),
  );
  for (const [index, result] of results.entries()) {
    const sandbox = names[index];
    if (result.status === "fulfilled") log.info({ sandbox }, "stopped");
    else log.error({ sandbox, err: String(result.reason) }, "did not stop in time: unsynced writes are lost");
  }
}
