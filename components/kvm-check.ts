import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { askHost } from "./ask-host";
import { type Connection, hostShell } from "./connection";
import { onHost, VisibleError } from "./errors";
import { explainKvm, type KvmReport, parseKvmReport } from "./kvm-report";

import { script } from "./scripts";

export interface KvmCheckArgs {
  /** Name of the host among several, for error messages. */
  hostName?: string;
  /** The host to check: one whose engine has been found usable, so that it is not asked in vain. */
  connection: pulumi.Input<Connection>;
}

/**
 * Verifies on the host itself that /dev/kvm can be used; anything less fails what needs KVM, with the remedy.
 * The check runs in every preview and up; the command resource keeps the last verdict in the state and runs
 * anew only when the verdict changes, so that an up with nothing to do shows nothing.
 *
 * @example new KvmCheck("kvm", { connection: host.connection })
 */
export class KvmCheck extends pulumi.ComponentResource {
  /** What was found. Resources that need KVM take an input from it, so that none is made before the check. */
  readonly report: pulumi.Output<KvmReport>;

  constructor(name: string, args: KvmCheckArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:KvmCheck", name, {}, opts);
    const connection = pulumi.output(args.connection);
    const stdin = script("kvm-check");

    this.report = askHost(connection, stdin, { parent: this, hostName: args.hostName }).apply((stdout) =>
      onHost(args.hostName, () => usableKvm(stdout)),
    );

    new command.local.Command(
      `${name}-device`,
      {
        create: connection.apply(hostShell),
        stdin,
        logging: "none",
        triggers: [this.report.code, this.report.details],
      },
      { parent: this, deleteBeforeReplace: true },
    );

    this.registerOutputs({ report: this.report });
  }
}

/** @throws VisibleError with what to type, where the report on standard output says that KVM can't be used */
export function usableKvm(stdout: string): KvmReport {
  const report = parseKvmReport(stdout);
  if (!report.ok) throw new VisibleError(explainKvm(report));
  return report;
}
