import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell } from "../host/connection";
import type { HostSettings } from "../settings/schema";
import { requireKey } from "./api-key";
import { keyLines, writeKeys } from "./key-file";

export interface KeysArgs {
  /** The key in the setting `apiKey`, or the one that was made; empty where there are only `keys`. */
  apiKey: pulumi.Input<string>;
  /** All others, as their hashes. */
  keys: pulumi.Input<HostSettings["keys"]>;
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
  /** Id of the container: a new one gets the file anew. */
  containerId: pulumi.Input<string>;
}

/**
 * The server's keys: a file of their hashes that the server reads again when it changes. A change of keys replaces no
 * container, and closes only the connections of revoked keys. The keys themselves are in no environment, process list or
 * image layer. `npm run keys` changes the file too.
 *
 * @example new Keys("key", { apiKey, keys, connection, containerName, containerId }, { dependsOn: server.ready })
 */
export class Keys extends pulumi.ComponentResource {
  /** Settled once the server has the keys: the first request with one of them makes it read the file. */
  readonly applied: pulumi.Resource;

  constructor(name: string, args: KeysArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:Keys", name, {}, opts);
    this.applied = new command.local.Command(
      `${name}-file`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        // Secret: a weak key of the user's own could be guessed from its hash.
        stdin: pulumi.secret(
          pulumi.all([args.containerName, args.apiKey, args.keys]).apply(([container, apiKey, keys]) => {
            requireKey(keys, apiKey);
            return writeKeys(container, keyLines({ apiKey, keys }));
          }),
        ),
        triggers: [args.containerId],
        logging: "none",
      },
      { parent: this, deleteBeforeReplace: true },
    );
    this.registerOutputs({});
  }
}
