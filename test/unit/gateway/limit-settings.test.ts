import { expect, it, test } from "vitest";
import { keysCommand, limitsOf } from "../../../cli/commands/keys";
import { keyLimits } from "../../../components/settings/keys";
import { limits, limitVariables } from "../../../components/settings/limits";
import { parseSettings } from "../../../components/settings/parse-settings";
import { environmentSchema, readConfig } from "../../../docker/gateway/src/config";
import { readKeys } from "../../../docker/gateway/src/keys/key-file";
import { settingsTable } from "../../../docs/settings-table";

const rows = settingsTable().filter(({ key }) => key.startsWith("limits."));
const set = parseSettings({
  limits: Object.fromEntries(rows.map(({ key, example }) => [key.slice("limits.".length), example])),
  apiKey: "a".repeat(40),
}).limits;

test("the server reads each limit that can be set, and there is none that can't", () => {
  const given = limitVariables(set);
  expect(Object.values(given)).toEqual(Object.values(set));
  expect(Object.keys(given).sort()).toEqual(
    Object.keys(environmentSchema.shape)
      .filter((name) => name.startsWith("LIMIT_"))
      .sort(),
  );
  const text = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, String(value)]));
  expect(readConfig(text)).toMatchObject(given);
});

it.each(rows)("$key has the default that its description tells", ({ key, description }) => {
  const [variable = ""] = Object.keys(limitVariables({ [key.slice("limits.".length)]: 1 }));
  const initial = readConfig({})[variable as keyof ReturnType<typeof readConfig>];
  const [, told, unit] = /(?:;|\.) (\d+)( MiB)?(?: \([^)]*\))? if not set/.exec(description) ?? [];
  if (told === undefined) expect(initial, "the server finds it by itself").toBeUndefined();
  else expect(initial).toBe(Number(told) * (unit ? 1024 ** 2 : 1));
});

test("what a key may have of them is an option of keys add, a setting, and the server's to read", () => {
  const names = Object.keys(keyLimits.shape);
  const options = keysCommand(["--stack <name>", ""]).commands.find((each) => each.name() === "add")?.options;
  const given = (options ?? [])
    .map((option) => option.attributeName())
    .filter((name) => !["stack", "expires", "metrics"].includes(name));
  const read = limitsOf(Object.fromEntries(given.map((name) => [name, name === "memory" ? "70M" : "70"])));
  expect(Object.keys(read).sort()).toEqual(names.sort());
  for (const name of names) expect(Object.keys(limits.shape)).toContain(name);

  const line = JSON.stringify({
    id: "ci",
    hash: `sha256:${"0".repeat(64)}`,
    limits: { ...read, memoryMiB: 70 },
  });
  // The server reads the settings' names, and has its own.
  const { memoryMiB: _own, volumeGiB, ...rest } = read;
  expect(readKeys(line).keys[0]?.limits).toEqual({ ...rest, memoryMib: 70, volumeGib: volumeGiB });
});

test("a limit of a key that is none is named as it was typed", () => {
  expect(() => limitsOf({ totalSandboxes: "many" })).toThrow(
    "--total-sandboxes many: expected a whole number above 0.",
  );
  expect(() => limitsOf({ volumeGib: "0" })).toThrow("--volume-gib 0");
});
