import { isIP } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { script } from "../host/scripts";
import { certificateEnd, tellEnd } from "../settings/certificate-end";
import { forProgram, withStack } from "../settings/message-commands";
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
  authority.apply((text) => {
    const { what, remedy } = authorityWarning(name, text) ?? {};
    if (what) pulumi.log.warn(withStack(forProgram(`${what}\n  ${remedy}`), pulumi.getStack()), parent);
  });
  return { pem, authority: pulumi.unsecret(authority.apply(certificate)) };
}

/**
 * That the authority ends soon or has ended, and how to have another; undefined where it does not. No `up` makes one by
 * itself: clients have it.
 *
 * @param name of the certificate's resources @example "microsandbox-tls"
 */
export function authorityWarning(
  name: string,
  pem: string,
  now?: number,
): { what: string; remedy: string } | undefined {
  const end = certificateEnd(pem, now);
  if (!end?.isSoon) return undefined;
  return {
    what: tellEnd(`The stack's own CA, which has signed the certificate of ${name},`, end),
    remedy: `for a new one, which clients need then (output caCertificate): pulumi up --replace '**::${name}-authority'`,
  };
}

/** A script for this machine that prints a key and the authority's certificate for it. */
export function certificateScript(authority: string, names: string[], usage: CertificateUsage): string {
  const list = names.map((each) => `${isIP(each) ? "IP" : "DNS"}:${each}`).join(",");
  const variables = { NAMES: list, DAYS: LIFE_DAYS, USAGE: usage };
  // Not exported, as the other variables are: a key is in no environment.
  return `AUTHORITY=${shellQuote(authority.trim())}\n${withVariables(variables, script("server/tls-certificate"))}`;
}
