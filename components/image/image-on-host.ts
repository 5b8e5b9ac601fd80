import { isDeepStrictEqual } from "node:util";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, remoteCommand } from "../host/connection";
import type { RecordedCommand } from "../host/deployment";
import { probeCommand } from "../host/probe";
import { shellQuote } from "../settings/shell";
import { printedBy, type RecordedCommands } from "./printed";

/** How an image gets from this machine to a host's engine. */
export interface ImageTransfer {
  connection: pulumi.Input<Connection>;
  /** Command line that loads the archive on its standard input into the host's engine. */
  loader: pulumi.Input<string>;
  /** Whether the loader itself skips layers that the engine has. */
  loaderDeduplicates: boolean;
}

/** Variables of send-image.sh, besides the image's name. */
export const transferVariables = (host: Connection, LOADER: string, loaderDeduplicates: boolean) => ({
  HOST_SHELL: hostShell(host),
  LOADER,
  LOADER_DEDUPLICATES: loaderDeduplicates ? "yes" : "",
});

/** Credentials for a registry; if one is not set, each engine uses its own `docker login`. */
export interface RegistryLogin {
  user: pulumi.Input<string | undefined>;
  password: pulumi.Input<string | undefined>;
}

/** The registry that a repository is in. @example registryOf("team/server") // "docker.io" */
export function registryOf(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  return rest.length > 0 && /[.:]|^localhost$/.test(first) ? first : "docker.io";
}

/** Variables of registry-login.sh that no program gets into its environment. */
export const loginVariables = ({ user, password }: Partial<RegistryLogin> = {}) =>
  pulumi
    .all([user, password])
    .apply(
      ([name, secret]): Record<string, string> =>
        name && secret ? { REGISTRY_USER: name, REGISTRY_PASSWORD: secret } : {},
    );

/**
 * A command that brings an image to a host and prints its id there. Deleting the resource removes the image, unless a
 * container uses it: a later resource has then brought it under the same name.
 */
export function imageOnHost(
  name: string,
  args: { connection: pulumi.Input<Connection>; reference: pulumi.Input<string> } & Pick<
    command.local.CommandArgs,
    "create" | "stdin"
  > & { triggers: pulumi.Input<string>[]; recorded?: RecordedCommands },
  parent: pulumi.Resource,
): pulumi.Output<string> {
  const { connection, reference, recorded, ...inputs } = args;
  const triggers = pulumi
    .all([pulumi.all(args.triggers), connection, recorded])
    .apply(([wanted, host, state]) =>
      againWhereGone(wanted, state?.command(`${name}-load`), (image) => isGone(host, image, parent)),
    );
  const loaded = new command.local.Command(
    `${name}-load`,
    {
      ...inputs,
      triggers,
      delete: pulumi
        .all([connection, reference])
        .apply(([host, image]) => `${remoteCommand(host, `docker image rm ${shellQuote(image)}`)} || true`),
      logging: "stderr",
    },
    { parent },
  );
  return printedBy(loaded, `${name}-load`, triggers, recorded);
}

/**
 * Triggers of a command that brings an image to a host. If the image has been removed from the host, a counter among them
 * grows, and the command runs again.
 */
async function againWhereGone(
  wanted: string[],
  before: RecordedCommand | undefined,
  gone: (image: string) => Promise<boolean>,
): Promise<unknown[]> {
  if (!before || !isDeepStrictEqual(before.triggers.slice(0, wanted.length), wanted)) return wanted;
  const [times] = before.triggers.slice(wanted.length);
  if (await gone(before.stdout.trim())) return [...wanted, String(Number(times ?? 0) + 1)];
  return before.triggers;
}

/** Whether a host's engine answers and lacks the image. Other problems of the host are reported by the checks. */
async function isGone(host: Connection, image: string, parent: pulumi.Resource): Promise<boolean> {
  const id = shellQuote(image);
  const stdin = `docker image inspect ${id} >/dev/null 2>&1 || { docker version >/dev/null 2>&1 && echo no image; }`;
  const { stdout } = await command.local.run(
    { command: probeCommand(host), stdin, logging: "none" },
    { parent },
  );
  return stdout.trim() === "no image";
}
