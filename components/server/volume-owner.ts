import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, withVariables } from "../host/connection";
import { script } from "../host/scripts";

export interface VolumeOwnerArgs {
  /** The host that the volumes are on. */
  connection: pulumi.Input<Connection>;
  /** Id of the server's image in the host's engine: its shell does the work. */
  imageId: pulumi.Input<string>;
  /** Names of the two volumes. */
  volumes: { state: pulumi.Input<string>; workspace: pulumi.Input<string> };
  /** Name of the server's container. One that runs as another user is stopped first. */
  containerName: pulumi.Input<string>;
  /** Uid and gid that shall own the volumes' files. */
  user: number;
}

/**
 * Gives the volumes to the server's user: what is in them may be root's, from a privileged server. It is done again
 * for another image, and for nothing else: a changed way to the host, or another text of the script, is an update that
 * does nothing, since the container stays then.
 *
 * @example new VolumeOwner("owner", { connection, imageId, volumes, containerName, user: serverUser })
 */
export class VolumeOwner extends pulumi.ComponentResource {
  /** Settled once the volumes are the user's. */
  readonly done: pulumi.Resource;

  constructor(name: string, args: VolumeOwnerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:VolumeOwner", name, {}, opts);
    const { state, workspace } = args.volumes;
    this.done = new command.local.Command(
      `${name}-files`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        update: ":",
        stdin: pulumi
          .all([args.imageId, state, workspace, args.containerName])
          .apply(([IMAGE, STATE, WORKSPACE, SERVER]) =>
            withVariables(
              { IMAGE, STATE, WORKSPACE, OWNER: args.user, SERVER },
              script("server/volume-owner"),
            ),
          ),
        triggers: [state, workspace, args.user, args.imageId],
        logging: "none",
      },
      { parent: this, deleteBeforeReplace: true },
    );
    this.registerOutputs({});
  }
}
