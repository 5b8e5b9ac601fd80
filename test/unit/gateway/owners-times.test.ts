import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { FakeMsb, faultyMsb } from "../../harness/faults";
import { create, NEVER, twoOwners, upgrade } from "./two-owners";

/** What a question to msb takes at least. One answer with it and one without differ by that, on any machine. */
const LATE_MS = 1_000;

test("an id of another key's is looked up as one that never was", async () => {
  const { gateway, ann, bob } = await twoOwners({ MSB_PATH: faultyMsb });
  const { id } = (await create(bob, "bobs-box")).body;
  // A question to msb takes so long that nobody can mistake it for an answer from memory.
  new FakeMsb(gateway.home).fail([["ls", "late", LATE_MS]], 1);
  const milliseconds = async (path: string) => {
    // What msb said last is old by then.
    await sleep(1_700);
    const began = performance.now();
    await (path.endsWith("/agent") ? upgrade(gateway, path) : ann.ask("GET", path));
    return performance.now() - began;
  };
  for (const tail of ["", "/agent"]) {
    // The least of a few: what a busy machine adds is no difference.
    let [theirs, none] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let tries = 0; tries < 4 && !(Math.abs(theirs - none) < LATE_MS / 2); tries++) {
      theirs = Math.min(theirs, await milliseconds(`/v1/sandboxes/${id}${tail}`));
      none = Math.min(none, await milliseconds(`/v1/sandboxes/${NEVER}${tail}`));
    }
    expect(Math.abs(theirs - none), `${tail}: ${theirs} ms, and ${none} ms`).toBeLessThan(LATE_MS / 2);
  }
}, 90_000);
