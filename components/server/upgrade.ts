import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, withVariables } from "../host/connection";
import { outliving, script } from "../host/scripts";
import { containerArgs, type ServerContainer } from "./container-args";
import { runFlags, serveFlags } from "./run-flags";
import { serverUser } from "./server-user";

export interface UpgradeArgs extends ServerContainer {
  /** Name of the server's container. */
  containerName: string;
  /** Id of the image that the server is to run. */
  imageId: pulumi.Input<string>;
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Whether the new server has to boot a microVM before the old one goes. */
  boot: boolean;
  /** Copies of the state that stay after upgrades. */
  upgradeCopies: pulumi.Input<number>;
}

/**
 * A change of the server's image, tried out before the container is replaced: the state is copied, the new image has
 * to get ready on it, and if it does not, state and old server come back and the deployment fails. Runs once for each
 * image; docs/adr/0006-upgrade-before-replacement.md says why here.
 *
 * @example
 * const upgrade = new Upgrade("upgrade", { imageId: image.imageId, containerName, volumes, … });
 * const server = new Server("server", { imageId: upgrade.imageId, … });
 * upgrade.finish(server.ready);
 */
export class Upgrade extends pulumi.ComponentResource {
  /** The same image, known once the state is fit for it. */
  readonly imageId: pulumi.Output<string>;
  private readonly report: pulumi.Output<string>;

  constructor(
    private readonly name: string,
    private readonly args: UpgradeArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("microsandbox:index:Upgrade", name, {}, opts);
    const server = containerArgs(args, args.imageId, args.baseName);
    const flags = runFlags(server, args, args.baseName);
    const serving = serveFlags(server, args.baseName);
    const variables = pulumi
      .all([args.imageId, args.volumes.state, args.volumes.workspace, args.baseName, flags, serving])
      .apply(([IMAGE, STATE, WORKSPACE, NETWORK, RUN_FLAGS, SERVE_FLAGS]) => ({
        CONTAINER: args.containerName,
        ...{ IMAGE, STATE, WORKSPACE, NETWORK, RUN_FLAGS, SERVE_FLAGS, BOOT: args.boot ? 1 : 0 },
        OWNER: args.privileged ? "" : serverUser,
      }));
    const trial = new command.local.Command(
      `${name}-trial`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        stdin: variables.apply((values) => outliving(withVariables(values, script("server/upgrade")))),
        triggers: [args.imageId],
        logging: "stderr",
      },
      // Where a setting of the server changes it runs too, and finds that the image is the same.
      { parent: this, customTimeouts: { create: "60m", update: "60m" } },
    );
    this.report = trial.stdout;
    // Not what it prints: a preview takes that for unknown wherever a setting of the trial changes, and the container for
    // replaced. The id is the same until the trial is made for another image.
    this.imageId = pulumi.all([args.imageId, trial.id]).apply(([imageId]) => imageId);
    this.registerOutputs({ imageId: this.imageId });
  }

  /** Says how long the service was away, and drops old copies, once these are done. */
  finish(ready: pulumi.Input<pulumi.Input<pulumi.Resource>[]>): void {
    const { args, name } = this;
    const stdin = pulumi
      .all([this.report, args.version, args.volumes.state, args.upgradeCopies])
      .apply(([REPORT, VERSION, STATE, KEEP]) =>
        withVariables({ REPORT, VERSION, STATE, KEEP }, script("server/upgrade-done")),
      );
    new command.local.Command(
      `${name}-done`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        // Told once: not again where the number of copies changes.
        update: ":",
        stdin,
        triggers: [this.report],
        logging: "stderr",
      },
      { parent: this, dependsOn: ready },
    );
  }
}
