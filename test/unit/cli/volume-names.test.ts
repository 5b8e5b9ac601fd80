import { expect, it, test } from "vitest";
import { type Named, namesOf } from "../../../cli/sandbox-names";
import {
  isPlainVolumeList,
  type VolumeRow,
  volumePositions,
  volumeTable,
  withVolumeHandles,
} from "../../../cli/volume-names";

const row = (name: string, gib?: number): VolumeRow => ({
  ...{ name, kind: gib ? "disk" : "dir", created_at: "2026-11-24T10:39:12.1Z" },
  capacity_bytes: gib ? gib * 1024 ** 3 : null,
});
const made = (id: string, name: string, owner: string | null = "ci", handle = id): Named => ({
  ...{ id, name, owner, handle },
});

const rows = [row("id-1"), row("id-2", 10), row("id-3"), row("old"), row("stray")];
const volumes = namesOf(rows, [
  made("id-1", "data"),
  made("id-2", "cache"),
  made("id-3", "cache", "lab"),
  made("id-4", "old", null, "old"),
]);

test("volumes are shown by name, owner and id, not by what msb calls them", () => {
  const lines = volumeTable(rows, volumes).split("\n");
  expect(lines[0]).toMatch(/^NAME +KIND +SIZE +OWNER +CREATED \(UTC\) +ID$/);
  expect(lines[1]).toMatch(/^data +dir +- +ci +2026-11-24 10:39 +id-1$/);
  expect(lines[2]).toMatch(/^cache +disk +10 GiB +ci +2026-11-24 10:39 +id-2$/);
  expect(lines[4]).toMatch(/^old +dir +- +- +2026-11-24 10:39 +id-4$/);
  expect(lines[5]).toMatch(/^stray +dir +- +- +2026-11-24 10:39 +-$/);
  expect(volumeTable([], [])).toBe("No volumes found.");
});

it.each([
  ["a client's name", "volume rm data", "volume rm id-1"],
  ["several", "volume remove -q data id-4", "volume remove -q id-1 old"],
  ["an id", "volume inspect id-2", "volume inspect id-2"],
  ["what only msb knows", "volume rm stray none", "volume rm stray none"],
  ["no name of one that is to be made", "volume create data", "volume create data"],
  ["a sandbox", "rm data", "rm data"],
])("msb is told %s in its own words", (_what, words, expected) => {
  expect(withVolumeHandles(words.split(" "), volumes).join(" ")).toBe(expected);
});

test("where several keys have a volume of that name, it takes the id", () => {
  expect(() => withVolumeHandles(["volume", "rm", "cache"], volumes)).toThrow(
    "Several volumes are called cache. Use the id of one:\n  id-2  created with the key ci\n  id-3  created with the key lab",
  );
});

test("a list for programs is msb's own", () => {
  for (const words of ["volume ls", "volume list"]) expect(isPlainVolumeList(words.split(" "))).toBe(true);
  for (const words of ["volume ls --format json", "volume ls -q", "ls", "volume", "image ls"])
    expect(isPlainVolumeList(words.split(" ")), words).toBe(false);
  expect(volumePositions(["volume", "inspect", "a", "b"])).toEqual([2]);
});
