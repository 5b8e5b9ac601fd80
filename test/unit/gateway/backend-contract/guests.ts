import { once } from "node:events";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { LogCursor, LogEntry } from "../../../../docker/gateway/src/sandboxes/backend";
import { type MakeWorld, refused, running, settled, type World, wanted, within } from "./world";

/** The agent's connections, and the log. */
export function describeGuests(make: MakeWorld): void {
  test("a connection to the agent carries bytes both ways, as many connections as there are", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    const connections = await Promise.all(
      [1, 2, 3].map(() => world.backend.sandboxes.openAgent(id, within(20_000))),
    );
    for (const [index, connection] of connections.entries()) {
      const sent = Buffer.alloc(100_000 + index, index + 1);
      const got: Buffer[] = [];
      connection.write(sent);
      for await (const chunk of connection) {
        got.push(chunk as Buffer);
        if (Buffer.concat(got).length === sent.length) break;
      }
      expect(Buffer.concat(got).equals(sent)).toBe(true);
      expect(connection.destroyed).toBe(true);
    }
  });

  test("there is none to what does not run, and it ends with the guest", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "box");
    const connection = await sandboxes.openAgent(id, within(20_000));
    const over = once(connection.resume(), "end");
    await world.kill(id);
    await over;
    connection.destroy();
    await refused(sandboxes.openAgent(id, within(20_000)), "conflict");
    const rests = await sandboxes.create(wanted("rests"));
    await refused(sandboxes.openAgent(rests.id, within(20_000)), "conflict");
  });

  test("one that is about to run is waited for, until the signal", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    await world.boots("hang");
    const { id } = await sandboxes.create(wanted("box"));
    await world.agent(id);
    await sandboxes.want(id, "running");
    await refused(sandboxes.openAgent(id, within(50)), "conflict");
    const opening = sandboxes.openAgent(id, within(20_000));
    await world.boots("well");
    (await opening).destroy();
    expect(await settled(world, id)).toMatchObject({ status: "running" });
  });

  test("the log goes on from any cursor with exactly the rest", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    /** Entries that were there before. */
    let total = 0;
    const said = fc.record({
      source: fc.constantFrom("stdout", "stderr"),
      text: fc.string({ unit: "grapheme" }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(said, { minLength: 1, maxLength: 12 }), fc.nat(), async (entries, at) => {
        const before = (await read(world, id, total)).at(-1)?.cursor;
        total += entries.length;
        for (const { source, text } of entries) await world.say(id, source as "stdout", text);
        const all = await read(world, id, entries.length, before);
        expect(all.map(({ source, text }) => ({ source, text }))).toEqual(entries);
        const k = at % entries.length;
        const rest = await read(world, id, entries.length - 1 - k, all[k]?.cursor);
        expect(rest).toEqual(all.slice(k + 1));
        const stderr = entries.filter(({ source }) => source === "stderr");
        const picked = await read(world, id, stderr.length, before, ["stderr"]);
        expect(picked.map(({ text }) => text)).toEqual(stderr.map(({ text }) => text));
      }),
      { numRuns: 8 },
    );
  });

  test("the log ends with the sandbox, with all that it said; it can be read after that too", async () => {
    const world = await make();
    const { sandboxes } = world.backend;
    const { id } = await running(world, "box");
    await world.say(id, "stdout", "first");
    const texts: string[] = [];
    const reading = (async () => {
      const query = { sources: new Set(["stdout"]), signal: within(20_000) };
      for await (const entries of sandboxes.logs(id, query)) {
        for (const { text } of entries) texts.push(text);
        if (texts.length === 1)
          await world.say(id, "stdout", "last").then(() => sandboxes.want(id, "stopped"));
      }
    })();
    await reading;
    expect(texts).toEqual(["first", "last"]);
    const again: string[] = [];
    for await (const entries of sandboxes.logs(id, { sources: new Set(["stdout"]), signal: within(20_000) }))
      for (const { text } of entries) again.push(text);
    expect(again).toEqual(["first", "last"]);
  });

  test("a reader that is called off ends, and one of nothing reads nothing", async () => {
    const world = await make();
    const { id } = await running(world, "box");
    const began = performance.now();
    expect(await read(world, id, 1_000_000, undefined, ["stdout"], within(100))).toEqual([]);
    expect(performance.now() - began).toBeLessThan(10_000);
    const none = "00000000-0000-4000-8000-00000000000f";
    expect(await read(world, none, 1, undefined, ["stdout"], within(5_000))).toEqual([]);
  });
}

/** So many entries after a cursor, or what there is until the signal aborts. */
async function read(
  { backend }: World,
  id: string,
  count: number,
  after?: LogCursor,
  sources = ["stdout", "stderr"],
  signal = within(20_000),
): Promise<LogEntry[]> {
  const found: LogEntry[] = [];
  if (count === 0) return found;
  for await (const entries of backend.sandboxes.logs(id, { sources: new Set(sources), after, signal })) {
    found.push(...entries);
    if (found.length >= count) break;
  }
  return found;
}
