import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as z from "zod";
import { flag, optionalText, settingMeta } from "./fields";

const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;

const FILE = /^[^\0\r\n]{1,4096}$/;

/** TLS certificate of the server. */
export const tls = z.strictObject({
  generate: flag(
    false,
    "Create a CA and a certificate signed by it; `up` renews the certificate every 60 days. The output `caCertificate` is the CA certificate.",
  ),
  names: z
    .array(z.string().refine((name) => isIP(name) !== 0 || NAME.test(name)))
    .prefault([])
    .register(settingMeta, {
      description:
        "DNS names and addresses that clients use for the server. `tls.generate` adds them to the certificate; your own " +
        "certificate must be valid for all of them.",
      accepts: 'a list of names and addresses, like ["sandboxes.example.com"]',
      example: '["sandboxes.example.com"]',
    }),
  certificate: optionalText(isCertificate, {
    description: "Your own certificate, followed by its intermediate certificates.",
    accepts: "PEM text of one certificate or more",
    example: "-----BEGIN CERTIFICATE-----…",
  }),
  certificateFile: optionalText(FILE, {
    description: "Your own certificate as a file on this machine; every `up` reads it again.",
    accepts: "the path of a file with PEM text",
    example: "/etc/letsencrypt/live/example.com/fullchain.pem",
  }),
  key: optionalText(isKey, {
    description: "Private key of the certificate; set it with `--secret`.",
    accepts: "PEM text of the private key that belongs to the certificate",
    example: "-----BEGIN PRIVATE KEY-----…",
  }),
  keyFile: optionalText(FILE, {
    description: "Private key of the certificate, as a file on this machine.",
    accepts: "the path of a file with PEM text",
    example: "/etc/letsencrypt/live/example.com/privkey.pem",
  }),
});

export type TlsSettings = z.output<typeof tls>;

/** Whether the server speaks TLS. */
export const hasTls = (settings: TlsSettings): boolean => settings.generate || isGiven(settings);

/** Whether the certificate is one of the user's. */
export const isGiven = ({ certificate, certificateFile }: TlsSettings): boolean =>
  certificate !== undefined || certificateFile !== undefined;

/** Whether a key is there without its certificate: TLS is wanted, and what is missing has an error of its own. */
export const lacksCertificate = (settings: TlsSettings): boolean =>
  !isGiven(settings) && (settings.key !== undefined || settings.keyFile !== undefined);

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
