import { expect, test } from "vitest";
import { ChangeLog } from "../../../docker/gateway/src/backends/msb/change-log";
import { randomFrom, seedFromEnvironment } from "../../harness/random";

/** A copy that is kept by what the log says alone. */
class Copy {
  readonly items = new Map<string, number>();
  private moment: string | undefined;

  /** One question. @returns whether there are others already */
  ask(log: ChangeLog, now: ReadonlyMap<string, number>): boolean {
    const { anew, ids, moment, more } = log.since(this.moment);
    if (anew) this.items.clear();
    for (const id of ids) {
      const item = now.get(id);
      if (item === undefined) this.items.delete(id);
      else this.items.set(id, item);
    }
    this.moment = moment;
    return more;
  }
}

test("whoever asks for changes, now and then, knows what there is: whatever came, changed and went", () => {
  const seed = seedFromEnvironment("CHANGE_LOG_SEED");
  const random = randomFrom(seed);
  for (let round = 0; round < 40; round++) {
    const now = new Map<string, number>();
    const limits = { kept: random.between(0, 20), atOnce: random.between(1, 10) };
    let log = new ChangeLog(now, limits);
    const copies = Array.from({ length: 4 }, () => new Copy());
    for (let turn = 0; turn < 400; turn++) {
      const id = `s${random.between(0, 30)}`;
      if (random.between(0, 2) > 0) now.set(id, turn);
      else if (!now.delete(id)) continue;
      log.add(id);
      if (random.between(0, 200) === 0) {
        // The process ends; another one knows what there is, and none of the moments.
        log = new ChangeLog(now, limits);
        for (const each of now.keys()) log.add(each);
      }
      const [often, seldom] = [random.pick(copies.slice(0, 2)), random.pick(copies.slice(2))];
      often.ask(log, now);
      if (random.between(0, 60) === 0) while (seldom.ask(log, now));
    }
    for (const copy of copies) {
      for (let asked = 0; copy.ask(log, now); asked++) expect(asked, `seed ${seed}`).toBeLessThan(100);
      expect([seed, [...copy.items].sort()]).toEqual([seed, [...now].sort()]);
    }
  }
});

test("it holds no more than twice what there is and what is kept of what is no more", () => {
  const now = new Set<string>();
  const log = new ChangeLog(now, { kept: 50, atOnce: 1_000_000 });
  for (let turn = 0; turn < 20_000; turn++) {
    now.add(`s${turn}`);
    log.add(`s${turn}`);
    now.delete(`s${turn - 10}`);
    log.add(`s${turn - 10}`);
  }
  expect(log.since(undefined).ids.length).toBeLessThanOrEqual(2 * (50 + 11));
});
