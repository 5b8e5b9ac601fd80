import { Command } from "commander";
import { keyLimits } from "../../components/settings/keys";
import { MIB, parseSize } from "../../components/settings/values";
import { createReporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { parseDuration } from "../duration";
import { type Changed, changeKeys } from "../keys/change-keys";
import {
  addKey,
  type KeyRow,
  type Keyring,
  latestUses,
  listKeys,
  parseExpires,
  revokeKey,
  rotateKey,
} from "../keys/keyring";
import { readKeys, readUses, serversWithKeys, withKeysLocked } from "../keys/stack-keys";
import { openStack } from "../stack";

interface LimitOptions {
  sandboxes?: string;
  totalSandboxes?: string;
  memory?: string;
  cpus?: string;
  volumes?: string;
  volumeGib?: string;
  snapshots?: string;
  requests?: string;
  connections?: string;
}

interface AddOptions extends LimitOptions {
  stack?: string;
  expires: string;
  metrics?: boolean;
}

/** `npm run keys`: the keys of a stack. */
export function keysCommand(stackOption: readonly [string, string]): Command {
  const keys = new Command("keys").description("Add, list, revoke and rotate the API keys of clients.");
  const command = (words: string, description: string) =>
    keys
      .command(words)
      .description(description)
      .option(...stackOption);

  command("add <id>", "Create an API key and show it once; only its hash is stored.")
    .option("--expires <when>", "a time from now (30d, 12h), a date (2027-01-31), or never", "never")
    .option("--sandboxes <n>", "limit of its running sandboxes")
    .option("--total-sandboxes <n>", "limit of its sandboxes, running or not")
    .option("--memory <size>", "memory of its running sandboxes together, like 4G")
    .option("--cpus <n>", "CPUs of its running sandboxes together")
    .option("--volumes <n>", "limit of its volumes")
    .option("--volume-gib <n>", "GiB of its volumes: their capacity, or the files in them")
    .option("--snapshots <n>", "limit of its snapshots")
    .option("--requests <n>", "its requests per second, instead of limits.requestsPerSecond")
    .option(
      "--connections <n>",
      "its open terminals, transfers and log streams, instead of limits.connections",
    )
    .option("--metrics", "it may read /metrics, which isolateByKey otherwise keeps to the key default")
    .action((id: string, { stack, expires, metrics, ...limits }: AddOptions) =>
      change(stack, (keyring, now) => {
        const terms = { expires: parseExpires(expires, now), limits: limitsOf(limits), metrics };
        return { ...addKey(keyring, id, terms, now), said: `Key ${id}` };
      }),
    );
  command("list", "Show all keys: when each was created, expires and was last used, and its limits.").action(
    ({ stack }) => list(stack),
  );
  command(
    "revoke <id>",
    "Revoke a key. The server rejects it at once and closes its open connections.",
  ).action((id: string, { stack }) =>
    change(stack, (keyring) => ({ keyring: revokeKey(keyring, id), said: `Revoked ${id}` })),
  );
  command("rotate <id>", "Replace a key by a new one with the same id, limits and sandboxes.")
    .option("--overlap <time>", "how long the old key stays valid; 0 revokes it at once", "1h")
    .option(
      "--expires <when>",
      "when the new key expires (default: it lives as long as the old one was created for)",
    )
    .action(
      (id: string, { stack, overlap, expires }: { stack?: string; overlap: string; expires?: string }) =>
        change(stack, (keyring, now) => {
          const overlapMs = parseDuration(overlap, "--overlap");
          const terms = {
            overlapMs,
            expires: expires === undefined ? undefined : parseExpires(expires, now),
          };
          return { ...rotateKey(keyring, id, terms, now), said: `The new key ${id}` };
        }),
    );
  return keys;
}

/** Changes the keys in the stack's file, then in the running servers, then in Pulumi's state. */
async function change(
  asked: string | undefined,
  make: (keyring: Keyring, now: Date) => Changed,
): Promise<void> {
  const on = await open(asked);
  await withKeysLocked(on.stack, on.report, () => changeKeys(on, make));
}

async function list(asked?: string): Promise<void> {
  const { stack, pulumi, report } = await open(asked);
  const { keyring, hostsWith, isOnCluster } = await readKeys(stack, pulumi);
  const servers = await serversWithKeys(stack, pulumi);
  const ask = () => Promise.all(servers.map(readUses));
  const uses = await report.wait("asking when the keys were last used", ask);
  const rows = listKeys(keyring, latestUses(uses), new Date());
  const isDev = !isOnCluster && Object.values(hostsWith(keyring)).every(({ devMode }) => devMode);
  const about = aboutList(stack, isDev, rows.length);
  if (about) report.say(about);
  if (rows.length === 0) return;
  const head: KeyRow = {
    id: "ID",
    created: "CREATED",
    expires: "EXPIRES",
    lastUse: "LAST USE",
    limits: "LIMITS",
  };
  const columns = Object.keys(head) as (keyof KeyRow)[];
  const widths = columns.map((column) => Math.max(...[head, ...rows].map((row) => row[column].length)));
  for (const row of [head, ...rows])
    console.log(
      columns
        .map((column, index) => row[column].padEnd(widths[index] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  for (const [index, { container }] of servers.entries())
    if (!uses[index]) report.say(`${container} could not report when its keys were last used.`);
}

/** What is said of a list of keys; undefined where it speaks for itself. */
export function aboutList(stack: string, isDev: boolean, count: number): string | undefined {
  const dev = `Stack ${stack} does not check API keys (devMode is true)`;
  if (count === 0) return isDev ? `${dev}, and has none.` : `Stack ${stack} has no API key.`;
  return isDev ? `${dev}; its file has these:` : undefined;
}

async function open(asked?: string) {
  const report = createReporter();
  const { stack, pulumi } = await openStack(asked, report);
  return { stack, pulumi, report };
}

/** The limits of a new key. @throws UserError that names the option */
export function limitsOf(options: LimitOptions) {
  const { memory, requests, volumeGib, ...rest } = options;
  const bytes = memory === undefined ? undefined : parseSize(memory);
  const given = {
    ...rest,
    ...(memory === undefined ? {} : { memoryMiB: bytes === undefined ? memory : bytes / MIB }),
    ...(requests === undefined ? {} : { requestsPerSecond: requests }),
    ...(volumeGib === undefined ? {} : { volumeGiB: volumeGib }),
  };
  const { success, data, error } = keyLimits.safeParse(given);
  if (success) return data;
  const field = String(error.issues[0]?.path[0]);
  const names: Record<string, keyof LimitOptions> = {
    memoryMiB: "memory",
    requestsPerSecond: "requests",
    volumeGiB: "volumeGib",
  };
  const option = names[field] ?? (field as keyof LimitOptions);
  const flag = option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const accepted =
    option === "memory" ? "a size in whole mebibytes, like 512M or 4G" : "a whole number above 0";
  throw new UserError(`--${flag} ${options[option]}: expected ${accepted}.`);
}
