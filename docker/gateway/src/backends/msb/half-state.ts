import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Why a state volume is not to be used: its content was being exchanged when that was cut off (components/server/swap.sh). What
 * is there may be half of it, and what a server writes to it would be in the way of the rest. Or another version has been
 * tried on it, and what is written to it would go with the rollback that is due.
 *
 * @param isTrial whether this is the server that is tried
 * @returns the reason, with what ends the exchange; undefined where the state is whole
 */
export function halfState(home: string, isTrial = false): string | undefined {
  const copies = join(home, "copies");
  const pending = readIfThere(join(copies, ".pending"));
  if (pending === "") return undefined;
  const isRestore = pending.startsWith("restored-");
  const isMoving = isRestore || existsSync(join(copies, ".failed"));
  if (isTrial && !isMoving) return undefined;
  const half = `${isRestore ? "A restore" : "The rollback of an upgrade"} was interrupted: the state volume may hold half of it`;
  const tried =
    "The test of an upgrade was interrupted: the state volume is not as the last server has left it";
  return (
    `${isMoving ? half : tried}. The server does not start on that; nothing is lost.\n` +
    "To finish it and start the server, run up for the stack that it belongs to: npm run up"
  );
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
