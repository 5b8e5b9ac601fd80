import { expect, test } from "vitest";
import { idsOf, MOST_SERVERS, serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { randomFrom, seedFromEnvironment } from "../../harness/random";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[48][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("an id says which server it is of, and is never made twice", () => {
  const seed = seedFromEnvironment("IDS_SEED");
  const random = randomFrom(seed);
  const made = new Set<string>();
  for (let turn = 0; turn < 2_000; turn++) {
    const server = turn < 2 ? [0, MOST_SERVERS - 1][turn] : random.between(0, MOST_SERVERS - 1);
    const id = idsOf(server)();
    expect(id).toMatch(UUID);
    expect([seed, serverOf(id)]).toEqual([seed, server]);
    made.add(id);
  }
  expect(made.size).toBe(2_000);
});

test("that of a single server says nothing, nor does what is no id", () => {
  for (const text of [idsOf()(), "", "8", `${idsOf(3)()}0`, idsOf(3)().toUpperCase(), ` ${idsOf(3)()}`])
    expect([text, serverOf(text)]).toEqual([text, undefined]);
});
