import { createReadStream, existsSync } from "node:fs";
import type { Readable } from "node:stream";
import { hostArgv } from "../../components/connection";
import { exec } from "../exec";
import { UserError } from "../user-error";
import { deployedServer } from "./sandbox";

/** `npm run images -- load FILE.tar | list | prune`: the images that sandboxes of the server can start from. */
export async function images(words: string[], asked?: string): Promise<void> {
  const [action, file] = words;
  if (action === "list") return inServer(asked, "msb image ls");
  // The built-in image comes back at once: it is needed where no registry is in reach.
  if (action === "prune") return inServer(asked, `msb image prune --yes && msb load --quiet ${starter}`);
  if (action !== "load" || !file) {
    throw new UserError("Usage: npm run images -- [--stack NAME] load FILE.tar | list | prune");
  }
  if (!existsSync(file))
    throw new UserError(`${file} does not exist. To make one: docker save IMAGE > FILE.tar`);
  return inServer(asked, "msb load", createReadStream(file));
}

const starter = "--input /usr/share/microsandbox/starter.tar --tag starter";

/** Runs a shell line in the server; an archive goes in through standard input, so that no path of the server is named. */
async function inServer(asked: string | undefined, line: string, input?: Readable): Promise<void> {
  const { connection, container } = await deployedServer(asked);
  const command = ["docker", "exec", ...(input ? ["--interactive"] : []), container, "sh", "-c", line];
  const [program = "docker", ...words] = hostArgv(connection, command);
  const { exitCode } = await exec(program, words, {
    stdin: input ?? "ignore",
    stdout: "inherit",
    stderr: "inherit",
    reject: false,
  });
  process.exitCode = exitCode ?? 1;
}
