import { randomBytes } from "node:crypto";
import { z } from "zod";
import { keyHash } from "../../components/server/key-file";
import { type ConfiguredKey, DEFAULT_KEY, KEY_ID } from "../../components/settings/keys";
import { nearest } from "../../components/settings/values";
import { UserError } from "../../setup/user-error";
import { parseDuration } from "../duration";

/** The keys of a stack as its configuration holds them: `default` in plain (encrypted on disk), of others the hash. */
export interface Keyring {
  apiKey?: string;
  keys: ConfiguredKey[];
}

/** A new key, which is shown once. */
export interface Made {
  keyring: Keyring;
  key: string;
}

/** What a new key is given. */
export interface KeyTerms {
  /** When it ends; null for never. */
  expires?: Date | null;
  limits?: ConfiguredKey["limits"];
  /** Whether it may read `/metrics` although `isolateByKey` is true. Default: false. */
  metrics?: boolean;
}

/** 256 random bits. */
export const newKey = (): string => `msb_${randomBytes(32).toString("hex")}`;

/** @throws UserError if the id is invalid or in use */
export function addKey(
  keyring: Keyring,
  id: string,
  { expires, limits, metrics }: KeyTerms,
  now: Date,
): Made {
  if (!KEY_ID.test(id)) {
    throw new UserError(
      `${JSON.stringify(id)} is not a valid key id: up to 64 letters, digits, '.', '_' and '-', a letter or digit first.`,
    );
  }
  if (id === DEFAULT_KEY && !keyring.apiKey) {
    throw new UserError(
      `${id} is the id of the key that the first up creates if there is no other.\nChoose another id.`,
    );
  }
  if (currentIds(keyring).includes(id)) {
    throw new UserError(
      `There is a key with the id ${id} already.\nChoose another id, or replace it: npm run keys -- rotate ${id}`,
    );
  }
  const key = newKey();
  const entry = entryOf({ id, hash: keyHash(key), created: now, expires: expires ?? null, limits, metrics });
  return { key, keyring: { ...keyring, keys: [...withoutEnded(keyring.keys, now), entry] } };
}

/** Revokes a key and the one that it replaces. @throws UserError for an id that no key has */
export function revokeKey(keyring: Keyring, id: string): Keyring {
  requireKnown(keyring, id);
  const keys = keyring.keys.filter((key) => key.id !== id);
  return id === DEFAULT_KEY ? { keys } : { ...keyring, keys };
}

/**
 * Rotates the key of an id. The old key stays valid for `overlapMs`, at most until its own expiry. Limits stay; without a
 * new expiry, the new key gets the lifetime of the old one.
 * @throws UserError for an id that no key has
 */
export function rotateKey(
  keyring: Keyring,
  id: string,
  { overlapMs, expires }: { overlapMs: number; expires?: Date | null },
  now: Date,
): Made {
  requireKnown(keyring, id);
  const old = keyring.keys.find((key) => key.id === id && !key.replaced);
  const hash = old?.hash ?? keyHash(keyring.apiKey ?? "");
  const ends = Math.min(now.getTime() + overlapMs, old?.expires ? Date.parse(old.expires) : Infinity);
  const predecessor =
    ends > now.getTime() ? [{ ...old, id, hash, expires: new Date(ends).toISOString(), replaced: true }] : [];
  // Each of several predecessors keeps its own expiry.
  const others = withoutEnded(keyring.keys, now).filter((key) => key !== old);
  const key = newKey();
  if (id === DEFAULT_KEY) return { key, keyring: { apiKey: key, keys: [...others, ...predecessor] } };
  const entry = entryOf({
    ...{ id, hash: keyHash(key), created: now, limits: old?.limits, metrics: old?.metrics },
    expires: expires === undefined ? sameLife(old, now) : expires,
  });
  return { key, keyring: { ...keyring, keys: [...others, entry, ...predecessor] } };
}

function sameLife(old: ConfiguredKey | undefined, now: Date): Date | null {
  if (!old?.expires || !old.created) return null;
  return new Date(now.getTime() + Date.parse(old.expires) - Date.parse(old.created));
}

function entryOf(
  key: Required<Pick<KeyTerms, "expires">> &
    Pick<KeyTerms, "limits" | "metrics"> & { id: string; hash: string; created: Date },
): ConfiguredKey {
  const { id, hash, created, expires, limits, metrics } = key;
  return {
    ...{ id, hash, created: created.toISOString() },
    ...(expires ? { expires: expires.toISOString() } : {}),
    ...(limits && Object.keys(limits).length > 0 ? { limits } : {}),
    ...(metrics ? { metrics } : {}),
  };
}

/** Drops expired predecessors of rotated keys. Other expired keys stay until they are revoked. */
function withoutEnded(keys: ConfiguredKey[], now: Date): ConfiguredKey[] {
  return keys.filter(({ replaced, expires }) => !replaced || Date.parse(expires ?? "") > now.getTime());
}

function currentIds({ apiKey, keys }: Keyring): string[] {
  const ids = keys.filter(({ replaced }) => !replaced).map(({ id }) => id);
  return apiKey ? [DEFAULT_KEY, ...ids] : ids;
}

function requireKnown(keyring: Keyring, id: string): void {
  const ids = currentIds(keyring);
  if (ids.includes(id)) return;
  const near = nearest(id, ids);
  const known = ids.length > 0 ? `Keys: ${ids.join(", ")}.` : "There is none.";
  throw new UserError(`There is no key ${id}.${near ? ` Did you mean ${near}?` : ""}\n${known}`);
}

/** A time from now, or a date (its beginning, in UTC), or a date and time with a zone; `never` is null. @throws UserError */
export function parseExpires(text: string, now: Date): Date | null {
  if (text === "never") return null;
  const isDate =
    z.iso.date().safeParse(text).success || z.iso.datetime({ offset: true }).safeParse(text).success;
  const isTime = /^\d{1,6}[smhdw]$/.test(text);
  if (!isDate && !isTime) {
    throw new UserError(
      `--expires ${text}: not a date. Accepted: a time from now (30d, 12h), a date (2027-01-31), a date and time with ` +
        "its zone (2027-01-31T18:00:00Z), or never.",
    );
  }
  const when = isTime ? new Date(now.getTime() + parseDuration(text, "--expires")) : new Date(text);
  if (when.getTime() > now.getTime()) return when;
  throw new UserError(`--expires ${text}: that is in the past. Accepted: a time in the future.`);
}

/** The last use of each key on any server; undefined where none could be asked. */
export function latestUses(all: (Record<string, string> | undefined)[]): Map<string, string> | undefined {
  const known = all.filter((uses) => uses !== undefined);
  if (known.length === 0) return undefined;
  const latest = new Map<string, string>();
  for (const [id, time] of known.flatMap((uses) => Object.entries(uses)))
    if ((latest.get(id) ?? "") < time) latest.set(id, time);
  return latest;
}

/** One line of `list`. */
export interface KeyRow {
  id: string;
  created: string;
  expires: string;
  lastUse: string;
  limits: string;
}

/** @param uses last use by id, as the server has it; undefined where it could not be asked */
export function listKeys(
  { apiKey, keys }: Keyring,
  uses: Map<string, string> | undefined,
  now: Date,
): KeyRow[] {
  const lastUse = (id: string) => {
    if (uses === undefined) return "?";
    const time = uses.get(id);
    return time === undefined ? "never" : minute(time);
  };
  const all: Partial<ConfiguredKey>[] = [...(apiKey ? [{ id: DEFAULT_KEY }] : []), ...keys];
  return all.map(({ id = "", created, expires, replaced, limits, metrics }) => ({
    id: replaced ? `${id} (old)` : id,
    created: created ? minute(created) : "-",
    expires: expires
      ? `${minute(expires)}${Date.parse(expires) <= now.getTime() ? " (expired)" : ""}`
      : "never",
    lastUse: lastUse(id),
    limits: Object.entries(limits ?? {})
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name} ${value}`)
      .concat(metrics ? "reads metrics" : [])
      .join(", "),
  }));
}

/** `2026-11-24 10:39`, in UTC. */
const minute = (time: string): string => new Date(time).toISOString().slice(0, 16).replace("T", " ");
