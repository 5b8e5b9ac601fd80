import { accessSync, constants, existsSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

/** Lines that tell why a build failed: its last step's output, and the builder's summary after it. */
const LINES = 40;

const watched = new Set<string>();

/**
 * A file for the log of a build: the provider itself only reports the exit code of a failed build. Its path is the same on
 * every deploying machine, since another path would be another build.
 *
 * @returns undefined where the folder can't be written to
 */
export function buildLogFile(folder: string, name: string): string | undefined {
  try {
    accessSync(folder, constants.W_OK);
    return join(folder, `image-build-${name}.log`);
  } catch {
    return undefined;
  }
}

/** Empties the log, and prints its end at the end of this process if the build has failed by then. */
export function sayWhenBuildFails(log: string): void {
  const file = resolve(log);
  // The provider only ever adds to it.
  rmSync(file, { force: true });
  if (watched.size === 0) {
    process.once("exit", () => {
      for (const each of watched) {
        const end = endOfFailed(each);
        if (end) console.error(end);
      }
    });
    // If a resource fails, Pulumi interrupts the program, waits for its end, and shows its output.
    if (process.listenerCount("SIGINT") === 0) process.once("SIGINT", () => process.exit(130));
  }
  watched.add(file);
}

/** The end of a build's log; undefined where there is none, or no failure in it. */
export function endOfFailed(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  if (!lines.some((line) => /^#\d+ ERROR: /.test(line))) return undefined;
  return `The build of the server's image failed. The end of its log (${file}):\n  ${lines.slice(-LINES).join("\n  ")}`;
}
