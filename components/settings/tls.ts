import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as z from "zod";
import { flag, optionalText, settingMeta } from "./fields";

const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;

const FILE = /^[^\0\r\n]{1,4096}$/;

/** How the server proves who it is. */
export const tls = z.strictObject({
  own: flag(
    false,
    "Make an authority and a certificate of it, renewed by each `up` after two months; see the output `authority`.",
  ),
  names: z
    .array(z.string().refine((name) => isIP(name) !== 0 || NAME.test(name)))
    .prefault([])
    .register(settingMeta, {
      description:
        "Names and addresses that clients call the server by: for a certificate of the stack's own besides the " +
        "endpoint's, for one of yours those it is good for.",
      accepts: 'a list of names and addresses, like ["sandboxes.example.com"]',
      example: '["sandboxes.example.com"]',
    }),
  certificate: optionalText(isCertificate, {
    description: "A certificate of yours, with those between it and its authority.",
    accepts: "PEM text of one certificate or more",
    example: "-----BEGIN CERTIFICATE-----…",
  }),
  certificateFile: optionalText(FILE, {
    description: "The same as a file of this machine, read by each `up`.",
    accepts: "the path of a file with PEM text",
    example: "/etc/letsencrypt/live/example.com/fullchain.pem",
  }),
  key: optionalText(isKey, {
    description: "Its private key; set it with `--secret`.",
    accepts: "PEM text of the private key that belongs to the certificate",
    example: "-----BEGIN PRIVATE KEY-----…",
  }),
  keyFile: optionalText(FILE, {
    description: "The same as a file of this machine.",
    accepts: "the path of a file with PEM text",
    example: "/etc/letsencrypt/live/example.com/privkey.pem",
  }),
});

export type TlsSettings = z.output<typeof tls>;

/** Whether the server speaks TLS. */
export const hasTls = (settings: TlsSettings): boolean => settings.own || isGiven(settings);

/** Whether the certificate is one of the user's. */
export const isGiven = ({ certificate, certificateFile }: TlsSettings): boolean =>
  certificate !== undefined || certificateFile !== undefined;

function isCertificate(text: string): boolean {
  return succeeds(() => new X509Certificate(text));
}

function isKey(text: string): boolean {
  return succeeds(() => createPrivateKey(text));
}

function succeeds(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}
