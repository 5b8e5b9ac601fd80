import { X509Certificate } from "node:crypto";
import * as z from "zod";
import { asText, optionalText, settingMeta } from "./fields";

const HOST = /^[a-z0-9][a-z0-9.-]*(:\d{1,5})?$/;
const WILDCARD = /^\*(\.[a-z0-9-]+)+$/;
const PREFIX = /^[a-z0-9][a-z0-9.-]*(:\d{1,5})?(\/[a-z0-9][a-z0-9._-]*)*\/$/;

const host = z.string().regex(HOST);
const word = asText.refine((text) => /^[^\p{C}]+$/u.test(text));

/** Registries that sandbox images come from. */
export const registries = z.strictObject({
  mirrors: z.record(host, z.string().regex(PREFIX)).prefault({}).register(settingMeta, {
    description: "Mirror to pull from, by registry; clients keep using the original image names.",
    accepts: "an object of prefixes by registry, each ending in /",
    example: '{"docker.io":"mirror.test/hub/"}',
  }),
  certificates: optionalText(areCertificates, {
    description: "CA certificates of private registries.",
    accepts: "PEM text of one certificate or more",
    example: "-----BEGIN CERTIFICATE-----…",
  }),
  plainHttp: z.array(host).prefault([]).register(settingMeta, {
    description: "Registries without TLS (plain http).",
    accepts: 'a list of registries, like ["localhost:5000"]',
    example: '["localhost:5000"]',
  }),
  logins: z
    .record(host, z.strictObject({ username: word, password: word }))
    .prefault({})
    .register(settingMeta, {
      description: "Credentials by registry; set the password with `--secret`.",
      accepts: "an object by registry, each of username and password",
      example: '{"ghcr.io":{"username":"…"}}',
    }),
  allowed: z
    .array(z.union([z.literal("*"), z.string().regex(WILDCARD), host]))
    .optional()
    .register(settingMeta, {
      description: "The only registries that images may come from; any public registry if not set.",
      accepts: 'a list of registries, *.example.com for all subdomains, "*" for any public one',
      example: '["docker.io","*.example.com"]',
    }),
});

export type RegistrySettings = z.output<typeof registries>;

/** Whether anything is set at all. */
export function hasRegistrySettings({
  mirrors,
  certificates,
  plainHttp,
  logins,
  allowed,
}: RegistrySettings): boolean {
  const named = [...Object.keys(mirrors), ...plainHttp, ...Object.keys(logins)];
  return named.length > 0 || certificates !== undefined || allowed !== undefined;
}

function areCertificates(text: string): boolean {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.length > 0 && blocks.every((block) => new X509Certificate(block).raw.length > 0);
  } catch {
    return false;
  }
}
