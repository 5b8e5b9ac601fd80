import { isIP } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { script } from "../host/scripts";
import { shellQuote } from "../settings/shell";
import { secretFrom } from "./secret-command";

/** Days that a certificate of our own is good for, and after which the next `up` makes another: a third is left. */
const LIFE_DAYS = 90;
const PERIOD_DAYS = 60;

/** Who shows the certificate: a server, or both sides of a connection. */
export type CertificateUsage = "serverAuth" | "serverAuth,clientAuth";

export interface OwnCertificateArgs {
  /** Common name of the authority. */
  authorityName: string;
  /** Names of DNS and addresses that it is for. */
  names: pulumi.Input<pulumi.Input<string>[]>;
  usage: CertificateUsage;
}

/** A private key with its certificate, and the certificate of the authority that signed it: PEM. */
export interface OwnCertificate {
  /** A secret. */
  pem: pulumi.Output<string>;
  authority: pulumi.Output<string>;
}

/** A certificate of an authority of the stack's own. Each `up` renews it in time; the authority stays, as clients have it. */
export function ownCertificate(
  name: string,
  { authorityName, names, usage }: OwnCertificateArgs,
  parent: pulumi.Resource,
): OwnCertificate {
  // Made once, for no change of the script again.
  const authority = secretFrom(
    `${name}-authority`,
    withVariables({ NAME: authorityName }, script("server/tls-authority")),
    { parent },
  );
  const distinct = pulumi.output(names).apply((all) => [...new Set(all)]);
  const stdin = pulumi
    .all([authority, distinct])
    .apply(([signer, all]) => certificateScript(signer, all, usage));
  const period = Math.floor(Date.now() / (PERIOD_DAYS * 24 * 3_600_000));
  const pem = secretFrom(`${name}-certificate`, stdin, { parent, triggers: [period] });
  const certificate = (text: string) => text.slice(text.indexOf("-----BEGIN CERTIFICATE"));
  return { pem, authority: pulumi.unsecret(authority.apply(certificate)) };
}

/** A script for this machine that prints a key and the authority's certificate for it. */
export function certificateScript(authority: string, names: string[], usage: CertificateUsage): string {
  const list = names.map((each) => `${isIP(each) ? "IP" : "DNS"}:${each}`).join(",");
  const variables = { NAMES: list, DAYS: LIFE_DAYS, USAGE: usage };
  // Not exported, as the other variables are: a key is in no environment.
  return `AUTHORITY=${shellQuote(authority.trim())}\n${withVariables(variables, script("server/tls-certificate"))}`;
}
