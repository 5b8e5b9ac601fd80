import { text } from "node:stream/consumers";
import { askServer } from "./backends/msb/admin";
import { Msb } from "./backends/msb/command-line";
import type { PruneReport } from "./backends/msb/image-prune";
import { mirrored } from "./backends/msb/image-reference";
import { readNames } from "./backends/msb/record-names";
import { applyRegistrySettings, readKept } from "./backends/msb/registry-settings";
import { isNewer } from "./backends/msb/state-version";
import { ConfigError } from "./errors";

const MIB = 1024 * 1024;

/** What the stack runs in the container beside the server: `node server.cjs COMMAND`. */
const commands: Record<string, (home: string, words: string[]) => Promise<void>> = {
  /** Takes over the registries of the stack, a JSON object on standard input. */
  registries: async (home) => applyRegistrySettings(home, JSON.parse(await text(process.stdin))),
  /** Prints the reference that stands for one under the mirrors that are set. */
  mirrored: async (home, [reference = ""]) => {
    const { mirrors } = await readKept(home);
    process.stdout.write(`${mirrored(reference, mirrors) ?? reference}\n`);
  },
  /** Fails where a state that this version of microsandbox has written is too new for the one in here. */
  accepts: async (home, [written = ""]) => {
    const own = await new Msb({ path: process.env.MSB_PATH || "msb", home }).version();
    if (isNewer(written, own)) throw new ConfigError(`microsandbox ${own} is older than ${written}`);
  },
  /** Removes images that no sandbox uses: `prune OPTIONS`, a JSON object. */
  prune: async (home, [options = "{}"]) => {
    const report = (await askServer(home, "/images/prune", JSON.parse(options))) as PruneReport;
    for (const reference of report.removed) process.stdout.write(`removed ${reference}\n`);
    for (const { reference, reason } of report.kept) process.stdout.write(`kept ${reference}: ${reason}\n`);
    process.stdout.write(`The cache of images takes ${Math.ceil(report.bytes / MIB)} MiB.\n`);
  },
  /** Prints what each sandbox is called: by its client, by the API, by msb, and whose it is; a JSON object a line. */
  names: async (home) => printNames(home, "sandboxes"),
  /** The same of volumes. */
  "volume-names": async (home) => printNames(home, "volumes"),
};

async function printNames(home: string, kind: "sandboxes" | "volumes"): Promise<void> {
  for (const named of await readNames(home, kind)) process.stdout.write(`${JSON.stringify(named)}\n`);
}

/** Runs a command. @throws Error for an unknown one */
export async function runCommand(home: string, [name = "", ...words]: string[]): Promise<void> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) throw new Error(`${name} is no command; there are ${Object.keys(commands).join(", ")}`);
  await command(home, words);
}
