/**
 * Pulumi property values as they cross the wire: JSON, in which secrets, unknowns and assets are objects or
 * strings with a fixed signature.
 */
export type Property = null | boolean | number | string | Property[] | { [key: string]: Property };
export type Properties = { [key: string]: Property };

const SIGNATURE_KEY = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const ASSET = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7";

/** What stands for a value that a preview can't know yet. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** The engine sends one sentinel for each type; all mean the same. */
const UNKNOWNS = new Set([
  UNKNOWN,
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", // bool
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421", // number
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2", // array
  "030794c1-ac77-496b-92df-f27374a8bd58", // asset
  "e48ece36-62e2-4504-bad9-02848725956a", // archive
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff", // object
]);

export function isObject(value: Property | undefined): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isUnknown(value: Property | undefined): boolean {
  return typeof value === "string" && UNKNOWNS.has(value);
}

/** True for a secret, asset, archive or resource reference: an object that is compared as a whole. */
export function isSpecial(value: Property | undefined): value is Properties {
  return isObject(value) && SIGNATURE_KEY in value;
}

export function isSecret(value: Property | undefined): value is Properties {
  return isObject(value) && value[SIGNATURE_KEY] === SECRET;
}

/** Content hash of an asset or archive, and nothing for any other value. */
export function contentHash(value: Property): Property | undefined {
  if (!isObject(value)) return undefined;
  const signature = value[SIGNATURE_KEY];
  return signature === ASSET || signature === ARCHIVE ? value.hash || undefined : undefined;
}

/** The same value with every secret marker taken off. */
export function reveal(value: Property): Property {
  if (isSecret(value)) return reveal(value.value ?? null);
  if (Array.isArray(value)) return value.map(reveal);
  if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, reveal(v)]));
  return value;
}

export function containsUnknown(value: Property): boolean {
  if (isUnknown(value)) return true;
  if (Array.isArray(value)) return value.some(containsUnknown);
  return isObject(value) && Object.values(value).some(containsUnknown);
}

/** Every text inside a secret, so that none of them is written to a log or an error. */
export function secretTexts(value: Property, inside = false): string[] {
  if (isSecret(value)) return secretTexts(value.value ?? null, true);
  if (typeof value === "string") return inside ? [value] : [];
  if (Array.isArray(value)) return value.flatMap((item) => secretTexts(item, inside));
  return isObject(value) ? Object.values(value).flatMap((item) => secretTexts(item, inside)) : [];
}

/** Drops nulls from maps: to the engine a null and a missing key are the same. */
export function withoutNulls<T extends Property>(value: T): T;
export function withoutNulls(value: Property): Property {
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item));
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([, v]) => v !== null);
  return Object.fromEntries(kept.map(([k, v]) => [k, withoutNulls(v)]));
}
