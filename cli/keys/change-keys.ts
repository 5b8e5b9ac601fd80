import { stackName } from "../../setup/project";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { readOutputs } from "../outputs";
import type { Pulumi } from "../pulumi";
import { makeStack } from "../stack";
import type { Keyring } from "./keyring";
import { readKeys, recordKeys, type StackKeys, saveKeys, serversWithKeys, tellServer } from "./stack-keys";

/** A changed keyring, the message about it, and the new key, if any. */
export interface Changed {
  keyring: Keyring;
  key?: string;
  said: string;
}

/**
 * Changes the keys of a stack that nobody else changes meanwhile.
 *
 * @throws UserError where its servers can't be read, with nothing changed; or where a server could not be told, by its name
 */
export async function changeKeys(
  { stack, pulumi, report }: Pick<Apply, "stack" | "pulumi" | "report">,
  make: (keyring: Keyring, now: Date) => Changed,
): Promise<void> {
  const known = await readKeys(stack, pulumi);
  const { keyring: before, hostsWith } = known;
  const { isOnCluster } = known;
  const hosts = Object.values(hostsWith(before));
  if (!isOnCluster && hosts.every(({ devMode }) => devMode)) {
    throw new UserError(
      `Stack ${stack} does not check API keys: devMode is true.\n` +
        `To use keys: npm run pulumi -- config --stack ${stack} set devMode false && npm run up -- --stack ${stack}`,
    );
  }
  const { keyring, key, said } = make(before, new Date());
  if (isOnCluster && isEmpty(keyring))
    throw new UserError(
      `No key would be left, and no client could use stack ${stack}: nothing was changed.\n` +
        `To create another one first: npm run keys -- add NAME --stack ${stack}`,
    );
  // Before the file changes: a key that only the file has lost is still good on the servers.
  const servers = await serversWithKeys(stack, pulumi);
  if (!known.isStackMade) await makeStack(stack, pulumi, report);
  await saveKeys(stack, known, keyring, pulumi);
  if (key) {
    // Printed first, so that the key is not lost if the next step fails.
    report.say(`${said} of stack ${stack}, shown only once:`);
    console.log(key);
  } else {
    report.say(`${said} in Pulumi.${stackName(stack)}.yaml.`);
    if (hosts.some(({ isolateByKey }) => isolateByKey))
      report.say(
        "Its sandboxes are kept: npm run sandbox -- ls shows them, and a new key with that id owns them.",
      );
    if (isEmpty(keyring))
      report.say(`No key is left. To create one: npm run keys -- add NAME --stack ${stack}`);
  }
  if (isOnCluster) return applyToCluster({ stack, pulumi, report });
  await apply({ stack, servers, keyring, hostsWith, pulumi, report });
}

const isEmpty = ({ apiKey, keys }: Keyring): boolean => !apiKey && keys.length === 0;

interface Apply extends Pick<StackKeys, "keyring" | "hostsWith"> {
  stack: string;
  servers: Awaited<ReturnType<typeof serversWithKeys>>;
  pulumi: Pick<Pulumi, "read" | "write">;
  report: Reporter;
}

/** The routers of a cluster follow a Secret, which is a resource like others. */
async function applyToCluster({ stack, pulumi, report }: Pick<Apply, "stack" | "pulumi" | "report">) {
  const { namespace } = await readOutputs(stack, pulumi);
  const up = `npm run up -- --stack ${stack}`;
  if (namespace === undefined)
    return report.say(`No server of stack ${stack} uses keys yet. To deploy one: ${up}`);
  const record = () => recordKeys(stack, pulumi);
  await report.wait(`giving the routers of ${namespace} their keys`, record).catch((error: Error) => {
    throw new UserError(
      `The routers were not updated and keep their current keys: ${error.message}\nTo update them: ${up}`,
    );
  });
  report.say(`The routers of ${namespace} were updated: the change is in effect within a second.`);
}

async function apply({ stack, servers, keyring, hostsWith, pulumi, report }: Apply): Promise<void> {
  const up = `npm run up -- --stack ${stack}`;
  if (servers.length === 0)
    return report.say(`No server of stack ${stack} uses keys yet. To deploy one: ${up}`);
  const settings = hostsWith(keyring);
  const failures: string[] = [];
  for (const server of servers) {
    const { host, container } = server;
    const tell = () => tellServer(server, settings[host] ?? keyring);
    await report.wait(`giving ${container} its keys`, tell).then(
      () => report.say(`${container} was updated: the change is in effect.`),
      (error: Error) =>
        failures.push(`${container} was not updated and keeps its current keys: ${error.message}`),
    );
  }
  if (failures.length > 0) throw new UserError(`${failures.join("\n")}\nTo update it: ${up}`);
  // Without a key left, the program would refuse to run.
  if (isEmpty(keyring)) return;
  const record = () => recordKeys(stack, pulumi);
  await report.wait("recording the change in Pulumi's state", record).catch((error: Error) => {
    throw new UserError(
      `The change is not in Pulumi's state, so a running up may undo it: ${error.message}\n` +
        `To make it permanent: ${up}`,
    );
  });
  report.say("Pulumi's state is up to date: the next up has nothing to change.");
}
