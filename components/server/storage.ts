import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { labels } from "../host/labels";
import { type Transform, transformed } from "./transform";

export interface StorageArgs {
  /** Id of the deployment, for the labels. */
  deployment: pulumi.Input<string>;
  /** Prefix of the default volume names. @example "microsandbox-dev" */
  baseName: pulumi.Input<string>;
  /** Name of the state volume: msb's whole home (images, disks, database). @default `<baseName>-state` */
  state?: pulumi.Input<string | undefined>;
  /** Name of the workspace volume, mounted on /workspace. @default `<baseName>-workspace` */
  workspace?: pulumi.Input<string | undefined>;
  /** Whether the volumes outlive `pulumi destroy`. @default true */
  keep?: boolean;
  /** Whether Pulumi refuses to delete or replace them. @default false */
  protect?: boolean;
  /** A change of the args of each. */
  transform?: Transform<docker.VolumeArgs>;
}

/** The volumes of a server: microsandbox's home, and /workspace. */
export interface ServerVolumes {
  readonly state: docker.Volume;
  readonly workspace: docker.Volume;
}

/**
 * The two named volumes. They survive every replacement of the server, and a destroy unless `keep` is false.
 *
 * @example new Storage("storage", { baseName: "microsandbox-dev" }, { provider: host.engine })
 */
export class Storage extends pulumi.ComponentResource {
  /** Name of the state volume. */
  readonly state: pulumi.Output<string>;
  /** Name of the workspace volume. */
  readonly workspace: pulumi.Output<string>;
  /** Both. */
  readonly volumes: ServerVolumes;

  constructor(name: string, args: StorageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:Storage", name, {}, opts);
    const deployment = pulumi.output(args.deployment);
    const { baseName, keep = true, protect = false } = args;

    // Depends on the base name even if another is set: the volume must wait for the checks.
    const nameOf = (role: "state" | "workspace") =>
      pulumi.all([baseName, args[role]]).apply(([base, given]) => given ?? `${base}-${role}`);
    const volume = (role: "state" | "workspace") =>
      new docker.Volume(
        `${name}-${role}`,
        transformed<docker.VolumeArgs>(
          { name: nameOf(role), driver: "local", labels: deployment.apply((id) => labels(role, id)) },
          args.transform,
          { fields: ["name"], lists: { labels: "label" } },
        ),
        // An older volume has other labels, and would be replaced.
        { parent: this, retainOnDelete: keep, protect, ignoreChanges: ["labels"] },
      );
    this.volumes = { state: volume("state"), workspace: volume("workspace") };
    this.state = this.volumes.state.name;
    this.workspace = this.volumes.workspace.name;

    this.registerOutputs({ state: this.state, workspace: this.workspace });
  }
}
