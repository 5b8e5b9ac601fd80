import { describe, expect, it } from "vitest";
import { aboutList } from "../../../../cli/commands/keys";
import { parseDuration } from "../../../../cli/duration";
import {
  addKey,
  type Keyring,
  latestUses,
  listKeys,
  parseExpires,
  revokeKey,
  rotateKey,
} from "../../../../cli/keys/keyring";
import { keyHash, keyLines } from "../../../../components/server/key-file";
import { keys as keysSchema } from "../../../../components/settings/keys";
import { readKeys } from "../../../../docker/gateway/src/keys/key-file";
import { UserError } from "../../../../setup/user-error";

it.each([
  [true, 0, /does not check API keys \(devMode is true\), and has none\.$/],
  [true, 2, /does not check API keys .*; its file has these:$/],
  [false, 0, /^Stack dev has no API key\.$/],
  [false, 2, undefined],
])("says of a list of keys what it means: devMode %s, %i keys", (isDev, count, message) => {
  const about = aboutList("dev", isDev, count);
  if (message === undefined) expect(about).toBeUndefined();
  else expect(about).toMatch(message);
});

const now = new Date("2026-11-24T10:00:00.000Z");
const later = (hours: number) => new Date(now.getTime() + hours * 3_600_000);
const empty: Keyring = { apiKey: "a".repeat(40), keys: [] };
const withCi = () => addKey(empty, "ci", { expires: later(24), limits: { sandboxes: 3 } }, now);

/** What the server makes of a keyring: id, whether it is this key, end. */
const served = (keyring: Keyring) =>
  readKeys(keyLines(keyring).join("\n")).keys.map(({ id, hash, expiresAt, limits }) => ({
    id,
    hash: `sha256:${hash.toString("hex")}`,
    ends: expiresAt === Infinity ? "never" : new Date(expiresAt).toISOString(),
    limits,
  }));

/** The message of the error; fails the test where there is none. */
function error(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  throw new Error("was accepted");
}

/** Ids of the keys that may read the metrics of all. */
const operators = (keyring: Keyring) =>
  readKeys(keyLines(keyring).join("\n")).keys.flatMap(({ id, operator }) => (operator ? [id] : []));

describe("the metrics of the whole server", () => {
  it("are read by the key default, also while another one replaces it", () => {
    expect(operators(withCi().keyring)).toEqual(["default"]);
    const rotated = rotateKey(withCi().keyring, "default", { overlapMs: 3_600_000 }, now).keyring;
    expect(operators(rotated)).toEqual(["default", "default"]);
  });

  it("are read by a key that was made for it, and those that replace it", () => {
    const { keyring } = addKey({ keys: [] }, "prometheus", { metrics: true }, now);
    expect(operators(keyring)).toEqual(["prometheus"]);
    const rotated = rotateKey(keyring, "prometheus", { overlapMs: 3_600_000 }, now).keyring;
    expect(operators(rotated)).toEqual(["prometheus", "prometheus"]);
    expect(listKeys(rotated, undefined, now)[0]).toMatchObject({ limits: "reads metrics" });
  });
});

describe("add", () => {
  it("makes a key of 256 random bits and keeps its hash alone", () => {
    const { keyring, key } = withCi();
    expect(key).toMatch(/^msb_[0-9a-f]{64}$/);
    expect(JSON.stringify(keyring)).not.toContain(key.slice(4));
    expect(served(keyring)).toEqual([
      { id: "default", hash: keyHash("a".repeat(40)), ends: "never", limits: {} },
      { id: "ci", hash: keyHash(key), ends: later(24).toISOString(), limits: { sandboxes: 3 } },
    ]);
    expect(keysSchema.parse(JSON.parse(JSON.stringify(keyring.keys)))).toEqual(keyring.keys);
  });

  it("refuses an id that is taken, is the one of apiKey, or is none", () => {
    const { keyring } = withCi();
    expect(error(() => addKey(keyring, "ci", {}, now))).toContain("npm run keys -- rotate ci");
    expect(error(() => addKey(keyring, "default", {}, now))).toContain("rotate default");
    expect(error(() => addKey({ keys: [] }, "default", {}, now))).toContain("first up creates");
    for (const id of ["", "-x", "a b", "../a", "a\nb", "x".repeat(65)])
      expect(error(() => addKey(keyring, id, {}, now))).toContain("is not a valid key id");
  });
});

describe("revoke", () => {
  it("takes the key away, and what it had replaced", () => {
    const { keyring } = withCi();
    const rotated = rotateKey(keyring, "ci", { overlapMs: 3_600_000 }, now).keyring;
    expect(rotated.keys).toHaveLength(2);
    expect(revokeKey(rotated, "ci")).toEqual(empty);
    expect(revokeKey(rotated, "default").apiKey).toBeUndefined();
  });

  it("names the nearest id for one that there is not", () => {
    const { keyring } = withCi();
    expect(error(() => revokeKey(keyring, "prod"))).toBe("There is no key prod.\nKeys: default, ci.");
    expect(error(() => revokeKey(keyring, "c1"))).toContain("Did you mean ci?");
    expect(error(() => revokeKey(keyring, "defualt"))).toContain("Did you mean default?");
    expect(error(() => revokeKey({ keys: [] }, "ci"))).toContain("There is none.");
  });
});

describe("rotate", () => {
  it("gives another key with the same limits and life, and takes the old one for a while", () => {
    const { keyring, key: old } = withCi();
    const { keyring: rotated, key } = rotateKey(keyring, "ci", { overlapMs: 3_600_000 }, later(1));
    expect(served(rotated).slice(1)).toEqual([
      { id: "ci", hash: keyHash(key), ends: later(25).toISOString(), limits: { sandboxes: 3 } },
      { id: "ci", hash: keyHash(old), ends: later(2).toISOString(), limits: { sandboxes: 3 } },
    ]);
    expect(keysSchema.parse(JSON.parse(JSON.stringify(rotated.keys)))).toEqual(rotated.keys);
  });

  it("without overlap takes the old one no longer; nor beyond its own end", () => {
    const { keyring } = withCi();
    expect(rotateKey(keyring, "ci", { overlapMs: 0 }, now).keyring.keys).toHaveLength(1);
    expect(rotateKey(keyring, "ci", { overlapMs: 3_600_000 }, later(25)).keyring.keys).toHaveLength(1);
    const [, old] = rotateKey(keyring, "ci", { overlapMs: 48 * 3_600_000 }, now).keyring.keys;
    expect(old?.expires).toBe(later(24).toISOString());
  });

  it("rotates apiKey, whose predecessor is kept as a hash", () => {
    const { keyring, key } = rotateKey(empty, "default", { overlapMs: 3_600_000 }, now);
    expect(keyring.apiKey).toBe(key);
    expect(served(keyring).map(({ hash, ends }) => [hash, ends])).toEqual([
      [keyHash(key), "never"],
      [keyHash("a".repeat(40)), later(1).toISOString()],
    ]);
    expect(keysSchema.safeParse(keyring.keys).success).toBe(true);
    const again = rotateKey(keyring, "default", { overlapMs: 3_600_000 }, later(2)).keyring;
    expect(again.keys.map(({ hash }) => hash)).toEqual([keyHash(key)]);
  });

  it("can end the new one at another time", () => {
    const { keyring } = withCi();
    const [entry] = rotateKey(keyring, "ci", { overlapMs: 0, expires: null }, now).keyring.keys;
    expect(entry?.expires).toBeUndefined();
  });
});

describe("times", () => {
  it.each([
    ["30d", 30 * 86_400_000],
    ["2w", 14 * 86_400_000],
    ["12h", 12 * 3_600_000],
    ["5m", 300_000],
    ["90s", 90_000],
    ["0", 0],
  ])("%s", (text, ms) => expect(parseDuration(text, "--overlap")).toBe(ms));

  it.each(["", "1", "h", "-1h", "1.5h", "1y", "1 h", "1h30m"])("%j is no time", (text) => {
    expect(error(() => parseDuration(text, "--overlap"))).toContain("--overlap");
  });

  it.each([
    ["never", null],
    ["30d", later(30 * 24)],
    ["2027-01-31", new Date("2027-01-31T00:00:00Z")],
    ["2027-01-31T18:00:00Z", new Date("2027-01-31T18:00:00Z")],
    ["2027-01-31T18:00:00+02:00", new Date("2027-01-31T16:00:00Z")],
  ])("expires %s", (text, date) => expect(parseExpires(text, now)).toEqual(date));

  it.each(["tomorrow", "2027-02-30", "2027-1-1", "31.01.2027", "2027-01-31T18:00:00", "0", ""])(
    "%j is no date",
    (text) => {
      expect(error(() => parseExpires(text, now))).toContain("not a date");
    },
  );

  it.each(["2026-11-24", "2020-01-01T00:00:00Z", "0d"])("%s is in the past", (text) => {
    expect(error(() => parseExpires(text, now))).toContain("in the past");
  });
});

it("knows the last use on any of several servers", () => {
  const [early, late] = ["2026-11-24T09:00:00.000Z", "2026-11-24T10:00:00.000Z"];
  expect(latestUses([{ a: early, b: late }, undefined, { a: late }])).toEqual(
    new Map([
      ["a", late],
      ["b", late],
    ]),
  );
  expect(latestUses([undefined])).toBeUndefined();
});

it("lists ends, last use and limits", () => {
  const { keyring } = withCi();
  const rotated = rotateKey(keyring, "ci", { overlapMs: 3_600_000 }, now).keyring;
  const rows = listKeys(rotated, new Map([["default", "2026-11-24T09:59:30.000Z"]]), later(2));
  expect(rows.map((row) => Object.values(row))).toEqual([
    ["default", "-", "never", "2026-11-24 09:59", ""],
    ["ci", "2026-11-24 10:00", "2026-11-25 10:00", "never", "sandboxes 3"],
    ["ci (old)", "2026-11-24 10:00", "2026-11-24 11:00 (expired)", "never", "sandboxes 3"],
  ]);
  expect(listKeys(keyring, undefined, now)[0]?.lastUse).toBe("?");
  const { keyring: odd } = addKey(empty, "constructor", { expires: null }, now);
  expect(listKeys(odd, new Map(), now).map(({ lastUse }) => lastUse)).toEqual(["never", "never"]);
});
