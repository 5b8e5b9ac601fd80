import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { hostArgv, hostShell } from "../../components/host/connection";
import { keyLines, writeKeys } from "../../components/server/key-file";
import { serverHome } from "../../components/server/stack-files";
import { checkSettings } from "../../components/settings/checks";
import { isCluster } from "../../components/settings/cluster";
import { SERVICE } from "../../components/settings/hosts";
import { type HostSettings, NAMESPACE } from "../../components/settings/schema";
import { explainErrors } from "../../components/settings/setting-errors";
import { exec } from "../../setup/exec";
import { stackFile, stackName } from "../../setup/project";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { stateFolder } from "../backend";
import type { Pulumi } from "../pulumi";
import { readServers, type Server, type StackServer } from "../servers";
import { readSettings } from "../settings";
import { hasStack } from "../stack";
import type { Keyring } from "./keyring";

/** Where the server writes down the last use of each key: docker/gateway/src/keys/key-use.ts. */
const usesFile = `${serverHome}/gateway/keys-used.json`;

/** The resources of components/server/keys.ts, and of a cluster's Secret; and of api-key.ts. */
const keyResources = [`**::${SERVICE}*-key-file`, `**::${SERVICE}-keys`, `**::${SERVICE}-api-key`];

/** The keys of a stack. */
export interface StackKeys {
  /** The stack's keys; keys that a host overrides are not managed here. */
  keyring: Keyring;
  /** Whether the key `default` is the one that the first `up` made, and in the state; else it is in the settings. */
  isMade: boolean;
  /** Whether Pulumi's backend has the stack: its settings can't be written before. */
  isStackMade: boolean;
  /** Whether they are those of a cluster's routers, and of no host. */
  isOnCluster: boolean;
  /** The settings of each host if the stack's keys were these. */
  hostsWith: (keyring: Keyring) => Record<string, HostSettings>;
}

/** Reads the keys of a stack, decrypted. @throws UserError if a setting is wrong */
export async function readKeys(stack: string, pulumi: Pick<Pulumi, "read">): Promise<StackKeys> {
  const isStackMade = await hasStack(stack, pulumi);
  const { values, secret } = await readSettings(stack, stackFile(stack), pulumi);
  const check = (change: Record<string, unknown>) => {
    const { settings, hosts, errors } = checkSettings({ ...values, ...change }, secret);
    if (!settings) throw new UserError(explainErrors(errors, { stack }));
    return { settings, hosts };
  };
  const { apiKey, keys, generateApiKey, cluster } = check({}).settings;
  const mayBeMade = isStackMade && apiKey === undefined && generateApiKey;
  const made = mayBeMade ? await readMadeKey(stack, pulumi) : undefined;
  return {
    isStackMade,
    keyring: { apiKey: apiKey ?? made, keys },
    isMade: made !== undefined,
    isOnCluster: isCluster({ cluster }),
    hostsWith: (keyring) => check({ apiKey: keyring.apiKey, keys: keyring.keys }).hosts,
  };
}

/**
 * The API key that the first `up` made; undefined where none was. From its own resource: a host may have another key, and
 * the outputs don't tell which.
 */
async function readMadeKey(stack: string, pulumi: Pick<Pulumi, "read">): Promise<string | undefined> {
  const state = JSON.parse(await pulumi.read(["stack", "export", "--show-secrets", "--stack", stack]));
  const { resources = [] } = z.object({ resources: z.array(madeKey).optional() }).parse(state.deployment);
  const made = resources.find(({ urn }) => urn.endsWith(`::${SERVICE}-api-key`));
  const text = made?.outputs?.stdout?.plaintext;
  const key = text === undefined ? "" : String(JSON.parse(text)).trim();
  // Empty where none was needed when it was made.
  return key === "" ? undefined : key;
}

/** A resource of the state, as far as it may be the made key: of a secret, Pulumi exports the JSON text. */
const madeKey = z.object({
  urn: z.string(),
  outputs: z.object({ stdout: z.object({ plaintext: z.string() }).optional().catch(undefined) }).optional(),
});

/** Writes what has changed into the stack's file, encrypted; values go through standard input, never as arguments. */
export async function saveKeys(
  stack: string,
  { keyring: before, isMade }: Pick<StackKeys, "keyring" | "isMade">,
  keyring: Keyring,
  pulumi: Pick<Pulumi, "read" | "write">,
): Promise<void> {
  const text = ({ keys }: Keyring) => (keys.length > 0 ? JSON.stringify(keys) : undefined);
  for (const [name, old, value] of [
    ["apiKey", before.apiKey, keyring.apiKey],
    ["keys", text(before), text(keyring)],
  ] as const) {
    const words = [`${NAMESPACE}:${name}`, "--stack", stack];
    if (value === old) continue;
    if (value === undefined && name === "apiKey" && isMade)
      await pulumi.read(["config", "set", `${NAMESPACE}:generateApiKey`, "false", "--stack", stack]);
    else if (value === undefined) await pulumi.read(["config", "rm", ...words]);
    else await pulumi.write(["config", "set", "--secret", ...words], value);
  }
}

/** The deployed servers that check keys. @throws UserError where they can't be read */
export const serversWithKeys = async (stack: string, pulumi: Pick<Pulumi, "read">): Promise<StackServer[]> =>
  (await readServers(stack, pulumi)).filter(({ checksKeys }) => checksKeys);

/** Gives a running server its keys: it takes them within a second. @throws UserError if it can't be reached */
export async function tellServer(
  { container, connection }: Server,
  keys: Pick<HostSettings, "apiKey" | "keys">,
): Promise<void> {
  const { exitCode, stderr } = await exec("sh", ["-c", hostShell(connection)], {
    input: writeKeys(container, keyLines(keys)),
    reject: false,
  });
  if (exitCode !== 0) throw new UserError(String(stderr).trim());
}

/**
 * Brings the deployment up to date with what the server was told, so that the next `up` finds nothing to do. On a cluster it
 * is what tells the routers.
 */
export async function recordKeys(stack: string, pulumi: Pick<Pulumi, "read">): Promise<void> {
  const flags = ["--yes", "--skip-preview", ...keyResources.flatMap((urn) => ["--target", urn])];
  await pulumi.read(["up", ...flags, "--stack", stack]);
}

/** When each key was last used, by id; undefined where the server can't be asked. */
export async function readUses({
  container,
  connection,
}: Server): Promise<Record<string, string> | undefined> {
  const line = `cat ${usesFile} 2>/dev/null || echo '{}'`;
  const command = ["docker", "exec", container, "sh", "-c", line];
  const [program = "docker", ...words] = hostArgv(connection, command);
  const { exitCode, stdout } = await exec(program, words, { stdin: "ignore", reject: false });
  return exitCode === 0 ? JSON.parse(String(stdout)) : undefined;
}

/**
 * Runs `change` while no other run of this checkout changes the keys of the stack. Says so where that did not hold to the
 * end: the machine was suspended, and another run took the lock for a dead one's.
 */
export async function withKeysLocked<T>(
  stack: string,
  report: Reporter,
  change: () => Promise<T>,
): Promise<T> {
  const { default: lockfile } = await import("proper-lockfile");
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  const file = join(stateFolder, `keys-${stackName(stack)}`);
  writeFileSync(file, "", { flag: "a" });
  let announced = false;
  let lost = false;
  const onCompromised = () => {
    lost = true;
  };
  for (;;) {
    const options = { stale: 20_000, update: 5_000, realpath: false, onCompromised };
    const release = await lockfile.lock(file, options).catch((error) => {
      if (error.code !== "ELOCKED") throw error;
    });
    if (release)
      return change().finally(() => {
        if (!lost) return release();
        report.say(
          `This run was suspended for so long that another one may have changed the keys of stack ${stack} meanwhile.\n` +
            `To see which there are: npm run keys -- list --stack ${stack}`,
        );
      });
    if (!announced) report.say(`Another run is changing the keys of stack ${stack}; waiting for it.`);
    announced = true;
    await new Promise((wake) => setTimeout(wake, 250));
  }
}
