import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { namingHost, VisibleError } from "../settings/visible-error";
import { askHost } from "./ask-host";
import { type Connection, hostShell } from "./connection";
import { explainKvm, type KvmReport, parseKvmReport } from "./kvm-report";

import { script } from "./scripts";

export interface KvmCheckArgs {
  /** Name of the host among several, for error messages. */
  hostName?: string;
  /** The host to check. */
  connection: pulumi.Input<Connection>;
  /** The verdict on its engine. What that lacks is told first; both are asked at once. */
  preflight: pulumi.Input<unknown>;
}

/**
 * Verifies on the host itself that /dev/kvm can be used; anything less fails what needs KVM, with the remedy.
 * The check runs in every preview and up; the command resource keeps the last verdict in the state and runs
 * anew only when the verdict changes, so that an up with nothing to do shows nothing.
 *
 * @example new KvmCheck("kvm", { connection: host.connection, preflight: host.preflight })
 */
export class KvmCheck extends pulumi.ComponentResource {
  /** What was found. Resources that need KVM take an input from it, so that none is made before the check. */
  readonly report: pulumi.Output<KvmReport>;

  constructor(name: string, args: KvmCheckArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:KvmCheck", name, {}, opts);
    const { connection, preflight: after, hostName } = args;
    const stdin = script("host/kvm-check");

    this.report = askHost(connection, stdin, { parent: this, hostName, after }).apply((stdout) =>
      namingHost(hostName, () => usableKvm(stdout)),
    );

    new command.local.Command(
      `${name}-device`,
      {
        create: pulumi.output(connection).apply(hostShell),
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
