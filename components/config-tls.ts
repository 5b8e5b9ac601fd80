import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { z } from "zod";
import { flag, optionalText, settingMeta } from "./config-fields";

const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i;

/** How the server proves who it is. */
export const tls = z.strictObject({
  own: flag(
    false,
    "Make an authority and a certificate of it, renewed by `npm run up`; see the output `authority`.",
  ),
  names: z
    .array(z.string().refine((name) => isIP(name) !== 0 || NAME.test(name)))
    .prefault([])
    .register(settingMeta, {
      description: "Names and addresses for a certificate of the stack's own, besides those of the endpoint.",
      accepts: 'a list of names and addresses, like ["sandboxes.example.com"]',
      example: '["sandboxes.example.com"]',
    }),
  certificate: optionalText(isCertificate, {
    description: "A certificate of yours, with those between it and its authority.",
    accepts: "PEM text of one certificate or more",
    example: "-----BEGIN CERTIFICATE-----…",
  }),
  key: optionalText(isKey, {
    description: "Its private key; set it with `--secret`.",
    accepts: "PEM text of the private key that belongs to tls.certificate",
    example: "-----BEGIN PRIVATE KEY-----…",
  }),
});

export type TlsSettings = z.output<typeof tls>;

/** Whether the server speaks TLS. */
export const hasTls = ({ own, certificate }: TlsSettings): boolean => own || certificate !== undefined;

/** Whether certificate and key belong together. */
export function belongTogether({ certificate, key }: TlsSettings): boolean {
  if (!certificate || !key) return !certificate && !key;
  return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
}

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
