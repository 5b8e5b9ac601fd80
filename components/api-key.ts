import { createHash } from "node:crypto";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, shellQuote } from "./connection";

/** Where the server reads the hashes of its keys: on the state volume, for root's eyes only. */
export const keysFile = "/var/lib/microsandbox/gateway/keys";

export interface ApiKeyArgs {
  /** The key in plain text. Only its hash leaves this process. */
  key: string;
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
  /** Id of the container: a new one gets the file anew. */
  containerId: pulumi.Input<string>;
}

/**
 * The server's API key: its hash in a file that the server reads again when it changes, so that another key needs
 * no other container and cuts no connection. The key itself is in no state, environment, process list or layer.
 *
 * @example new ApiKey("key", { key, connection, containerName, containerId }, { dependsOn: server.ready })
 */
export class ApiKey extends pulumi.ComponentResource {
  constructor(name: string, args: ApiKeyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:ApiKey", name, {}, opts);
    new command.local.Command(
      `${name}-file`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        stdin: pulumi
          .output(args.containerName)
          .apply((container) => writeKeys(container, [keyLine("default", args.key)])),
        triggers: [args.containerId],
        logging: "none",
      },
      { parent: this, deleteBeforeReplace: true },
    );
    this.registerOutputs({});
  }
}

/** A line of the key file. Keys have 256 random bits: one round of SHA-256 can't be searched. */
export function keyLine(id: string, key: string): string {
  return `sha256:${createHash("sha256").update(key).digest("hex")} ${id}`;
}

/** A script that replaces the key file in one step: a reader sees the old keys or the new ones. */
export function writeKeys(container: string, lines: string[]): string {
  const write = `umask 077; mkdir -p "$(dirname ${keysFile})"; cat >${keysFile}.new && mv ${keysFile}.new ${keysFile}`;
  return `docker exec --interactive ${shellQuote(container)} sh -c ${shellQuote(write)} <<'KEYS'\n${lines.join("\n")}\nKEYS\n`;
}
