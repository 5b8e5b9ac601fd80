import { isIP } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSshHost } from "../../../../components/host/connection";
import { checkSettings } from "../../../../components/settings/checks";
import { endpointHost } from "../../../../components/settings/endpoint";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { explainErrors, type SettingError } from "../../../../components/settings/setting-errors";
import {
  canonicalAddress,
  formatSize,
  isLoopback,
  isSshHost,
  isTimeZone,
  nearest,
  parseSize,
} from "../../../../components/settings/values";
import { VisibleError } from "../../../../components/settings/visible-error";
import { settingsTable } from "../../../../docs/settings-table";

const keys = settingsTable()
  .map((row) => row.key)
  .filter((key) => !key.includes("."));
const goodTexts = settingsTable().flatMap((row) => [row.default, row.example]);

/** Anything at all below known, nearly known and unknown keys. */
const key = fc.oneof(
  fc.constantFrom(...keys),
  fc.constantFrom(...keys).map((name) => name.slice(1)),
  fc.string(),
);
const value = fc.oneof(
  fc.constantFrom(...goodTexts, "0.0.0.0", "emulated", "9", "8G", "0.5", "100M"),
  fc.string({ unit: "binary" }),
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withSparseArray: true }),
);
const settings = fc.dictionary(key, value, { maxKeys: 12 });

test("any settings are accepted or refused with a VisibleError, nothing else", () => {
  fc.assert(
    fc.property(settings, (raw) => {
      try {
        parseSettings(raw);
      } catch (error) {
        expect(error).toBeInstanceOf(VisibleError);
      }
    }),
    { numRuns: 400 },
  );
});

test("every error is listed once, with a line to type or what to edit", () => {
  fc.assert(
    fc.property(settings, (raw) => {
      const { errors } = checkSettings(raw);
      expect(new Set(errors.map((error) => error.key)).size).toBe(errors.length);
      const message = explainErrors(errors);
      const lines = message.split("\n").filter((line) => line.startsWith("    fix:"));
      expect(lines).toHaveLength(errors.length);
      // A value may go on in the next line.
      for (const line of lines)
        expect(line).toMatch(/pulumi config ([sg]et|rm) \S| in Pulumi\.<stack>\.yaml$/);
    }),
    { numRuns: 200 },
  );
});

/** What the configuration is after the user has typed the lines. */
function fix(raw: Record<string, unknown>, errors: readonly SettingError[]): Record<string, unknown> {
  const fixed: Record<string, unknown> = structuredClone({ ...raw });
  for (const { key, value: given, path, ask, correct, edit } of errors.flatMap((error) => error.fix)) {
    // Who renames or corrects something knows what is right; a test takes it out.
    const value = ask ? goodText(key) : given;
    if (correct !== undefined || edit) {
      delete fixed[key];
      continue;
    }
    const names = path ? pathOf(key) : [key];
    const last = names.pop() ?? key;
    // An object may be typed as JSON.
    if (path && names[0] && typeof fixed[names[0]] === "string")
      fixed[names[0]] = JSON.parse(`${fixed[names[0]]}`);
    const part = names.reduce<unknown>((object, name) => {
      // Pulumi makes the objects that a path lacks.
      if (isObject(object) && value !== undefined && object[name] === undefined) object[name] = {};
      return isObject(object) && object[name];
    }, fixed);
    if (isObject(part) && value === undefined) delete part[last];
    else if (isObject(part)) part[last] = value;
    else fixed[key] = value;
  }
  return fixed;
}

const goodText = (key: string) => settingsTable().find((row) => row.key === key)?.example ?? "x";

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

/** The names in a path of `pulumi config --path`: `a.b`, `a["b"]`. */
const pathOf = (path: string) =>
  [...path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|[^.[\]]+/g)].map(
    ([plain, quoted]) => quoted?.replace(/\\(.)/g, "$1") ?? plain,
  );

test("the lines fix: typing them leads to accepted settings, in three rounds at most", () => {
  fc.assert(
    fc.property(settings, (raw) => {
      let current: Record<string, unknown> = raw;
      for (let round = 0; round < 3; round++) current = fix(current, checkSettings(current).errors);
      expect(checkSettings(current).errors).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("parsed settings parse to themselves", () => {
  fc.assert(
    fc.property(settings, (raw) => {
      const { settings } = checkSettings(raw);
      if (settings !== undefined) expect(parseSettings(settings)).toEqual(settings);
    }),
  );
});

test("sizes: what formatSize writes, parseSize reads", () => {
  fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes));
  const unit = fc.constantFrom(...["K", "M", "G", "T"].entries());
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1023 }), unit, (number, [power, letter]) => {
      expect(parseSize(`${number}${letter}`)).toBe(number * 1024 ** (power + 1));
      expect(parseSize(`${number}${letter.toLowerCase()}ib`)).toBe(number * 1024 ** (power + 1));
      expect(formatSize(number * 1024 ** (power + 1))).toBe(`${number}${letter}`);
    }),
  );
});

test("sizes: text that is none is none", () => {
  for (const text of ["", "G", "1.G", ".5G", "1 2", "-1", "1e3", "0x10", "1GG", "NaN", "1,5G", "9999999P"]) {
    expect(parseSize(text), text).toBeUndefined();
  }
});

test("ssh hosts: what is accepted can be taken apart, and no part looks like an option", () => {
  const part = fc.stringMatching(/^[a-z0-9@:._[\]/-]{0,12}$/);
  fc.assert(
    fc.property(part, part, fc.option(fc.integer({ min: -1, max: 70_000 })), (user, address, port) => {
      const host = `ssh://${user}@${address}${port === null ? "" : `:${port}`}`;
      if (!isSshHost(host)) return;
      const connection = parseSshHost(host);
      if (connection.kind !== "ssh") throw new Error("not ssh");
      expect(connection.user).not.toMatch(/^-|^$/);
      expect(connection.address).not.toMatch(/^-|^$/);
      expect(connection.port ?? 22).toBeGreaterThan(0);
      expect(connection.port ?? 22).toBeLessThan(65_536);
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z_][a-z0-9_-]{0,9}$/), fc.domain(), (user, address) => {
      expect(isSshHost(`ssh://${user}@${address}:22`)).toBe(true);
    }),
  );
});

test("loopback: 127.0.0.0/8 and ::1 in any spelling, nothing else", () => {
  fc.assert(fc.property(fc.ipV4(), (ip) => isLoopback(ip) === ip.startsWith("127.")));
  for (const ip of ["::1", "0:0:0:0:0:0:0:1", "0000::0001", "::ffff:127.0.0.1"]) {
    expect(isLoopback(ip), ip).toBe(true);
  }
  for (const ip of ["::", "::2", "fe80::1", "::ffff:10.0.0.1", "1::1", "localhost", ""]) {
    expect(isLoopback(ip), ip).toBe(false);
  }
});

test("time zones: each one that Node knows is accepted, and found again with a letter missing", () => {
  const zones = Intl.supportedValuesOf("timeZone");
  expect(zones.filter((zone) => !isTimeZone(zone))).toEqual([]);
  expect(nearest("Europe/Brlin", zones)).toBe("Europe/Berlin");
  expect(nearest("somewhere else", zones)).toBeUndefined();
});

test("nearest: a setting's name with one letter changed, left out or added leads back to it", () => {
  const edit = fc.record({ at: fc.nat(), letter: fc.constantFrom(..."abcxyz", "") });
  fc.assert(
    fc.property(fc.constantFrom(...keys.filter((name) => name.length > 5)), edit, (name, { at, letter }) => {
      const index = at % name.length;
      const misspelt = name.slice(0, index) + letter + name.slice(index + 1);
      expect(nearest(misspelt, keys)).toBe(name);
    }),
  );
});

test("an address keeps its zone", () => {
  expect(canonicalAddress("FE80:0::1%eth0")).toBe("fe80::1%eth0");
});

test("an address is one, however it is spelled: as the kernel shows it, and the endpoint takes it", () => {
  const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
  const sparse = fc.array(fc.constantFrom(0, 0, 0, 1, 0xfd00), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(fc.oneof(groups, sparse), (parts) => {
      const digits = parts.map((part) => part.toString(16));
      const spellings = [
        digits.join(":"),
        digits.map((part) => part.padStart(4, "0").toUpperCase()).join(":"),
      ];
      const read = spellings.map(
        (bindAddress) => parseSettings({ bindAddress, exposeDevMode: true }).bindAddress,
      );
      expect(new Set(read).size).toBe(1);
      expect(isIP(read[0] ?? "")).toBe(6);
      expect(canonicalAddress(read[0] ?? "")).toBe(read[0]);
      const isAny = parts.every((part) => part === 0);
      for (const bindAddress of spellings)
        expect(endpointHost({ bindAddress, host: "local" })).toBe(isAny ? "127.0.0.1" : bindAddress);
    }),
  );
});
