import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, withVariables } from "../host/connection";
import type { KvmReport } from "../host/kvm-report";
import { script } from "../host/scripts";

export interface BootCheckArgs {
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
  /** Id of the container: a new one is checked anew. */
  containerId: pulumi.Input<string>;
  /** What the KVM check found: another kernel, module or nesting is checked anew too. */
  kvm: pulumi.Input<KvmReport["details"]>;
}

/**
 * Boots one microVM in the running server, once for each container and each report of the KVM check, and keeps what
 * it printed.
 *
 * @example new BootCheck("boot", { connection, containerName, containerId, kvm: report.details }, { dependsOn })
 */
export class BootCheck extends pulumi.ComponentResource {
  /** Kernel release of the guest. */
  readonly guestKernel: pulumi.Output<string>;

  constructor(name: string, args: BootCheckArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:BootCheck", name, {}, opts);
    const boot = new command.local.Command(
      `${name}-guest`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        stdin: pulumi
          .output(args.containerName)
          .apply((CONTAINER) => withVariables({ CONTAINER }, script("server/boot-check"))),
        triggers: [args.containerId, args.kvm],
      },
      { parent: this, deleteBeforeReplace: true, customTimeouts: { create: "10m" } },
    );
    this.guestKernel = boot.stdout.apply((stdout) => stdout.split("\n")[0] ?? "");
    this.registerOutputs({ guestKernel: this.guestKernel });
  }
}
