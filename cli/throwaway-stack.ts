import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Runs `use` with a stack that is gone afterwards, its settings file too. It has a name of its own: another run of the same
 * program at the same time has another settings file.
 *
 * @param program folder of the program
 * @param use gets the stack's name and the URL of its backend
 */
export async function withThrowawayStack<T>(
  program: string,
  use: (name: string, backend: string) => Promise<T>,
): Promise<T> {
  const name = `push-${randomBytes(6).toString("hex")}`;
  const folder = await mkdtemp(join(tmpdir(), "microsandbox-push-"));
  const state = join(folder, "state");
  try {
    await mkdir(state);
    return await use(name, `file://${state}`);
  } finally {
    await rm(folder, { recursive: true });
    await rm(join(program, `Pulumi.${name}.yaml`), { force: true });
  }
}
