import { isIP } from "node:net";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, withVariables } from "../host/connection";
import { script } from "../host/scripts";
import { givenPem } from "../settings/given-certificate";
import { shellQuote } from "../settings/shell";
import type { TlsSettings } from "../settings/tls";
import { secretFrom } from "./secret-command";
import { writeServerFile } from "./server-file";

/** Days that a certificate of our own is good for, and after which the next `up` makes another: a third is left. */
const LIFE_DAYS = 90;
const PERIOD_DAYS = 60;

/** The server looks every second whether its certificate is another. */
const SEEN = "sleep 2";

export interface TlsArgs {
  /** Whether the certificate is one of an authority of the stack's own. */
  isGenerated: boolean;
  settings: pulumi.Input<TlsSettings>;
  /** Common name of the stack's own authority. */
  authorityName: string;
  /** Host names and addresses that clients may use. */
  names: pulumi.Input<pulumi.Input<string>[]>;
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
  /** Id of the container: a new one gets the file anew. */
  containerId: pulumi.Input<string>;
}

/**
 * The server's certificate: the one that is given, or one of an authority of the stack's own. It goes into a file that
 * the server reads again when it changes; private keys are secret in the state and nowhere else.
 *
 * @example new Tls("tls", { isGenerated: true, settings, names: ["127.0.0.1"], … }, { dependsOn: server.ready })
 */
export class Tls extends pulumi.ComponentResource {
  /** Certificate of the stack's own authority, PEM; empty where a certificate is given. */
  readonly authority: pulumi.Output<string>;
  /** Settled once the server has its certificate. */
  readonly ready: pulumi.Resource;

  constructor(name: string, args: TlsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:Tls", name, {}, opts);
    let pem: pulumi.Output<string>;
    if (!args.isGenerated) {
      this.authority = pulumi.output("");
      pem = pulumi.secret(
        pulumi.output(args.settings).apply((settings) => {
          const { certificate = "", key = "" } = givenPem(settings);
          return `${key}\n${certificate}`;
        }),
      );
    } else {
      // Made once, for no change of the script again: clients have the authority's certificate.
      const authority = secretFrom(
        `${name}-authority`,
        withVariables({ NAME: args.authorityName }, script("server/tls-authority")),
        { parent: this },
      );
      const names = pulumi.output(args.names).apply((all) => [...new Set(all)]);
      const stdin = pulumi.all([authority, names]).apply(([signer, all]) => certificateScript(signer, all));
      const period = Math.floor(Date.now() / (PERIOD_DAYS * 24 * 3_600_000));
      pem = secretFrom(`${name}-certificate`, stdin, { parent: this, triggers: [period] });
      this.authority = pulumi.unsecret(
        authority.apply((text) => text.slice(text.indexOf("-----BEGIN CERTIFICATE"))),
      );
    }
    this.ready = new command.local.Command(
      `${name}-file`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        stdin: pulumi.secret(
          pulumi
            .all([args.containerName, pem])
            .apply(([container, text]) => writeServerFile(container, "tls", text.trim(), SEEN)),
        ),
        triggers: [args.containerId],
        logging: "none",
      },
      { parent: this, deleteBeforeReplace: true },
    );
    this.registerOutputs({ authority: this.authority });
  }
}

/** A script for this machine that prints a key and the authority's certificate for it. */
export function certificateScript(authority: string, names: string[]): string {
  const list = names.map((each) => `${isIP(each) ? "IP" : "DNS"}:${each}`).join(",");
  // Not exported, as the other variables are: a key is in no environment.
  return `AUTHORITY=${shellQuote(authority.trim())}\n${withVariables({ NAMES: list, DAYS: LIFE_DAYS }, script("server/tls-certificate"))}`;
}
