import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { isPlainList } from "../../../cli/commands/sandbox";
import {
  type MsbRow,
  type Named,
  namePositions,
  namesOf,
  sandboxTable,
  withHandles,
} from "../../../cli/sandbox-names";

const row = (name: string): MsbRow => ({ name, status: "Running", created_at: "2026-11-24T10:39:12.1Z" });
const made = (id: string, name: string, owner: string | null = "ci", handle = id): Named => ({
  ...{ id, name, owner, handle },
});

describe("a sandbox is meant by", () => {
  const records = [
    made("id-1", "web"),
    made("id-2", "db"),
    made("id-3", "db", "lab"),
    made("id-4", "old", "ci", "old"),
    made("id-5", "old", "lab"),
    made("id-6", "was", "ci"),
    made("id-7", "again"),
    made("id-8", "again"),
  ];
  // Of id-6 and id-7 records are left, and msb has nothing.
  const rows = ["id-1", "id-2", "id-3", "old", "id-5", "id-8", "stray"].map(row);
  const sandboxes = namesOf(rows, records);
  const said = (...words: string[]) => withHandles(words, sandboxes).join(" ");

  it.each([
    ["its client's name", "exec web -- cat db", "exec id-1 -- cat db"],
    ["its id", "exec id-4", "exec old"],
    ["msb's name", "exec id-5", "exec id-5"],
    ["msb's name, where the server has not heard of it", "rm stray", "rm stray"],
    ["the name that others had before", "rm again", "rm id-8"],
    ["all names, where a command takes several", "rm -f web stray again", "rm -f id-1 stray id-8"],
    ["the place in a copy", "cp ./web web:/etc/web", "cp ./web id-1:/etc/web"],
    [
      "no option and no option's value",
      "exec -itu web --env web -w web web",
      "exec -itu web --env web -w web id-1",
    ],
    ["a name after an option that is not known", "exec --new-option 5 web ls", "exec --new-option 5 id-1 ls"],
    ["the first name, not a word of its command", "exec web echo web", "exec id-1 echo web"],
    ["nothing where msb has none of that name", "exec was", "exec was"],
    ["the long way to say it", "sbx stop -t 5 web", "sbx stop -t 5 id-1"],
  ])("%s", (_what, words, expected) => {
    expect(said(...words.split(" "))).toBe(expected);
  });

  test("an id, where several are called so: that is said, with whose they are", () => {
    expect(() => said("exec", "db")).toThrow(
      "Several sandboxes are called db. Use the id of one:\n  id-2  created with the key ci\n  id-3  created with the key lab",
    );
    expect(() => said("rm", "web", "old")).toThrow(
      /id-4 {2}created with the key ci\n {2}id-5 {2}created with the key lab/,
    );
  });

  it("is shown by name, owner and id", () => {
    const lines = sandboxTable(rows, sandboxes).split("\n");
    expect(lines[0]).toMatch(/^NAME +STATUS +OWNER +IMAGE +CREATED \(UTC\) +ID$/);
    expect(lines[1]).toMatch(/^web +Running +ci +- +2026-11-24 10:39 +id-1$/);
    expect(lines.at(-1)).toMatch(/^stray +Running +- +- +2026-11-24 10:39 +-$/);
    expect(sandboxTable([], [])).toBe("No sandboxes found.");
  });
});

it.each([
  ["run starter -- echo web", []],
  ["volume rm web", []],
  ["image ls", []],
  ["exec", []],
  ["exec -- web", []],
  ["constructor web", []],
  ["metrics", []],
  ["logs --tail 5 -f web", [2, 4]],
  ["stop --timeout=5 web other", [2, 3]],
  ["exec -u root web other", [3, 4]],
  ["exec -uroot web", [2]],
  ["modify --label a=b web", [3]],
])("%s may name sandboxes at %j", (words, positions) => {
  expect(namePositions(words.split(" "))).toEqual(positions);
});

test("what is no sandbox's name reaches msb as it was typed", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("exec", "rm", "cp", "--", "-t", "-u", "web", "a:b", "sbx"),
  );
  const sandboxes = namesOf([row("id-1")], [made("id-1", "web")]);
  fc.assert(
    fc.property(fc.array(word), (words) => {
      const translated = withHandles(words, sandboxes);
      expect(translated).toHaveLength(words.length);
      for (const [index, each] of translated.entries())
        if (each !== words[index])
          expect([each, words[index]].map((text) => text?.replace(/:.*/s, ""))).toEqual(["id-1", "web"]);
    }),
  );
});

test("a list for programs is msb's own", () => {
  expect(["ls", "list", "ls --running"].map((words) => isPlainList(words.split(" ")))).toEqual([
    true,
    true,
    true,
  ]);
  for (const words of ["ls --format json", "ls -q", "ls --help", "image ls", "ls --label a=b"])
    expect(isPlainList(words.split(" ")), words).toBe(false);
});
