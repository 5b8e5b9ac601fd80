import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { hostArgv } from "../../components/host/connection";
import { parseSize } from "../../components/settings/values";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { callerPath } from "../caller-path";
import { parseDuration } from "../duration";
import { cannotRead } from "../file-errors";
import { whyDown } from "../server-down";
import { deployedServer, type ServerSelection } from "./sandbox";

const USAGE =
  "Usage: npm run images -- [--stack NAME] [--host NAME] load FILE.tar | list | prune [--older-than 7d] [--max-size 10G]";

/** What `prune` is to leave: images used within a time, or all until they take too much room. */
export type PruneLimits = { olderThan?: string; maxSize?: string };

/** `npm run images -- load FILE.tar | list | prune`: the images that sandboxes of the server can start from. */
export async function images(words: string[], limits: PruneLimits, asked: ServerSelection): Promise<void> {
  const [action, file, ...more] = words;
  if (action === "list" && !file) return inServer(asked, ["msb", "image", "ls"]);
  if (action === "prune" && !file) {
    // The server removes them: it alone knows which image a start is about to use.
    const options = JSON.stringify(pruneOptions(limits));
    return inServer(asked, ["node", "/opt/gateway/server.cjs", "prune", options]);
  }
  if (action !== "load" || !file || more.length > 0) throw new UserError(USAGE);
  return inServer(asked, ["msb", "load"], { file, content: await archiveAt(callerPath(file)) });
}

const ARCHIVE = "an archive of an image. To make one: docker save IMAGE > FILE.tar";

/** What `load` reads. @throws UserError where there is no file */
export async function archiveAt(file: string): Promise<Readable> {
  const handle = await open(file, "r").catch((error: unknown) => {
    throw cannotRead(file, error, ARCHIVE);
  });
  try {
    // A folder can be opened, too.
    await handle.read(Buffer.alloc(1), 0, 1, 0);
  } catch (error) {
    await handle.close();
    throw cannotRead(file, error, ARCHIVE);
  }
  return handle.createReadStream({ start: 0 });
}

/** The limits as the server takes them. @throws UserError */
export function pruneOptions({ olderThan, maxSize }: PruneLimits): {
  olderThanSeconds?: number;
  maxBytes?: number;
} {
  const olderThanSeconds =
    olderThan === undefined ? undefined : parseDuration(olderThan, "--older-than") / 1000;
  const maxBytes = maxSize === undefined ? undefined : parseSize(maxSize);
  if (maxSize !== undefined && maxBytes === undefined)
    throw new UserError(`--max-size ${maxSize}: expected a size like 10G or 512M`);
  return { olderThanSeconds, maxBytes };
}

/** Runs a command in the server; an archive is passed on standard input, not as a path. */
async function inServer(
  asked: ServerSelection,
  words: string[],
  input?: { file: string; content: Readable },
): Promise<void> {
  const report = createReporter();
  const server = await deployedServer(asked, report);
  const { connection, container } = server;
  const command = ["docker", "exec", ...(input ? ["--interactive"] : []), container, ...words];
  const [program = "docker", ...rest] = hostArgv(connection, command);
  const run = () =>
    exec(program, rest, {
      stdin: input?.content ?? "ignore",
      stdout: "inherit",
      stderr: "inherit",
      reject: false,
    });
  const { exitCode } = await report.wait("waiting for the server", run);
  const down = exitCode === 0 ? undefined : await whyDown(server, report);
  if (down) throw down;
  if (exitCode !== 0 && input)
    throw new UserError(`${input.file} was not loaded: the reason is above.\nExpected: ${ARCHIVE}`);
  process.exitCode = exitCode ?? 1;
}
