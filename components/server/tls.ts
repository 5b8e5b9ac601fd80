import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell } from "../host/connection";
import { givenPem } from "../settings/given-certificate";
import type { TlsSettings } from "../settings/tls";
import { ownCertificate } from "./certificate";
import { writeServerFile } from "./server-file";

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
    const own = args.isGenerated
      ? ownCertificate(name, { ...args, usage: "serverAuth" }, this)
      : { pem: givenCertificate(args.settings), authority: pulumi.output("") };
    this.authority = own.authority;
    this.ready = new command.local.Command(
      `${name}-file`,
      {
        create: pulumi.output(args.connection).apply(hostShell),
        stdin: pulumi.secret(
          pulumi
            .all([args.containerName, own.pem])
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

/** The certificate of the settings with its key, PEM; a secret. */
export const givenCertificate = (settings: pulumi.Input<TlsSettings>): pulumi.Output<string> =>
  pulumi.secret(
    pulumi.output(settings).apply((tls) => {
      const { certificate = "", key = "" } = givenPem(tls);
      return `${key}\n${certificate}`;
    }),
  );
