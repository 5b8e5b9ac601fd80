import { once } from "node:events";
import { type Connection, hostArgv } from "../../components/host/connection";
import { pipe } from "../../setup/exec";
import { UserError } from "../../setup/user-error";

/** Name of the container that runs as long as somebody works on a server alone. */
export const atWork = (server: string): string => `${server}-at-work`;

/** What to do where somebody is, as the container that says so tells. */
export const waitFor = (worker: string): string =>
  `Wait until it has ended, then run the command again. If there is none, on the host: docker rm --force ${worker}`;

/** Seconds after which it ends by itself where nothing is heard of who has started it. */
const PATIENCE = 60;

const waiting = `echo here; while read -t ${PATIENCE} _; do :; done`;

/**
 * Begins work that nobody else may stop, start or change a server beside: an `up`, an upgrade
 * (components/server/at-work.sh), a backup, a restore.
 *
 * @param image id of an image with a shell
 * @returns ends it
 * @throws UserError where somebody else is at work
 */
export async function beginWork(
  { container, connection }: { container: string; connection: Connection },
  image: string,
): Promise<() => Promise<void>> {
  const name = atWork(container);
  const flags = ["--rm", "--interactive", "--network", "none", "--no-healthcheck", "--log-driver", "none"];
  const command = ["docker", "run", ...flags, "--name", name, image, "sh", "-c", waiting];
  const [program = "docker", ...words] = hostArgv(connection, command);
  const { stdin, stdout, ended } = await pipe(program, words);
  const isThere = once(stdout, "data").then(
    () => true,
    () => false,
  );
  if (!(await Promise.race([isThere, ended.then(() => false)]))) {
    stdin.end();
    const { stderr } = await ended;
    if (stderr.includes("already in use"))
      throw new UserError(
        `Another backup or restore, or an upgrade, is at work on the server ${container}. Nothing was changed.\n` +
          waitFor(name),
      );
    throw new UserError(`docker run failed on the host: ${stderr.trim()}`);
  }
  stdout.resume();
  const word = setInterval(() => stdin.write("\n"), (PATIENCE * 1000) / 4);
  return async () => {
    clearInterval(word);
    stdin.end();
    await ended;
  };
}
