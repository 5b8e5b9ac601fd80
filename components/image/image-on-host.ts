import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, remoteCommand } from "../host/connection";
import { shellQuote } from "../settings/shell";
import { printedBy, type RecordedCommands } from "./printed";

/** How an image gets from this machine to a host's engine. */
export interface ImageTransfer {
  connection: pulumi.Input<Connection>;
  /** Command line that loads the archive on its standard input into the host's engine. */
  loader: pulumi.Input<string>;
  /** Whether the loader leaves out by itself what the engine has. */
  sparing: boolean;
}

/** Variables of send-image.sh, besides the image's name. */
export const transferVariables = (host: Connection, LOADER: string, sparing: boolean) => ({
  HOST_SHELL: hostShell(host),
  LOADER,
  WHOLE: sparing ? "yes" : "",
});

/** Who logs in to a registry; where one of them is not set each engine's own `docker login` holds. */
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
 * A command that brings an image to a host, and its id there. The image goes with the resource, unless a container is
 * made of it: then it is the one that a later resource has brought under the same name.
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
  const loaded = new command.local.Command(
    `${name}-load`,
    {
      ...inputs,
      delete: pulumi
        .all([connection, reference])
        .apply(([host, image]) => `${remoteCommand(host, `docker image rm ${shellQuote(image)}`)} || true`),
      logging: "stderr",
    },
    { parent },
  );
  return printedBy(loaded, `${name}-load`, args.triggers, recorded);
}
