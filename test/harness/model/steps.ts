import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { FAULTS, type FaultRule } from "../faults";
import {
  about,
  create,
  die,
  fork,
  keptVolume,
  list,
  pipe,
  readLog,
  restart,
  upload,
  type Verb,
  volume,
} from "./actions";
import { tryAnothers } from "./another-owner";
import { type Model, type Models, OWNERS, type Owner, otherThan } from "./model";
import { modify } from "./modify";
import { settle } from "./settled";
import { snapshot } from "./snapshot";
import type { World } from "./world";

/** One thing that is done; `waits` tells whether the next one waits for its end. */
export type Step = fc.AsyncCommand<Models, World>;

/** How long a step may hold up the next: what hangs goes on behind it. */
const WAIT_MS = 30_000;
const TROUBLED_WAIT_MS = 300;
const NAMES = Array.from({ length: 10 }, (_, number) => `n${number}`);
const FILE_BYTES = 64 * 1024;
const PART_BYTES = FILE_BYTES / 4;

/** A step from what it does. It fails for what any request before it found wrong, too. */
class Doing implements Step {
  constructor(
    private readonly line: string,
    private readonly waits: Waits,
    private readonly act: (models: Models, world: World) => Promise<void>,
    private readonly done: () => void,
  ) {}

  private waitMs(models: Models): number {
    const troubled = models.all().some((each) => each.troubled);
    return this.waits === "no" ? 1 : troubled ? TROUBLED_WAIT_MS : WAIT_MS;
  }

  check = (): boolean => true;
  toString = (): string => (this.waits === "no" ? `${this.line} &` : this.line);

  async run(model: Models, world: World): Promise<void> {
    this.done();
    if (this.waits === "for all") return this.act(model, world);
    const work = world.track(this.act(model, world));
    await (this.waits === "to the end"
      ? work
      : Promise.race([work, sleep(this.waitMs(model), undefined, { ref: false })]));
    if (world.problems.length > 0) throw new Error(world.problems.join("; "));
  }
}

/**
 * Whether the next step waits for the end of this one, if that does not take too long. One that waits "for all" begins
 * by waiting for every request under way.
 */
type Waits = "no" | "yes" | "to the end" | "for all";

export type StepsOptions = {
  faults: boolean;
  restarts: boolean;
  /** Called for each step. */
  done: () => void;
};

/** Steps of every kind, those that clients do most often most often. */
export function steps({ faults, restarts, done }: StepsOptions): fc.Arbitrary<Step>[] {
  const name = fc.constantFrom(...NAMES);
  const of = (name: string, { run }: World) => `${name}-${run}`;
  const waits = fc.constantFrom<Waits>("no", "yes");
  const forAll: Make = (line, waits, act) => new Doing(line, waits, act, done);
  const creating = fc.record({
    ...{ name, start: chance(5, 6), ephemeral: chance(1, 4) },
    image: fc.constantFrom("starter", "starter", "starter", "starter", "slow", "absent", "broken"),
    waitSeconds: fc.constantFrom(90, 90, 90, 0),
    leaveAfterMs: fc.option(fc.integer({ min: 1, max: 60 }), { freq: 5, nil: undefined }),
    ...{ payload: chance(1, 3), mount: chance(1, 4) },
  });
  const often: Verb[] = ["get", "start", "stop", "delete"];
  const verb = fc.constantFrom<Verb>(...often, ...often, "pause", "resume");
  const kindsOf = (owner: Owner): [weight: number, fc.Arbitrary<Step>][] => {
    const step = (line: string, waits: Waits, act: (model: Model, world: World) => Promise<void>): Step =>
      forAll(`${owner}: ${line}`, waits, (models, world) => act(models.of(owner), world.as(owner)));
    return [
      [
        5,
        fc
          .tuple(creating, waits)
          .map(([asked, waits]) =>
            step(`create ${JSON.stringify(asked)}`, waits, (m, w) =>
              create(m, w, { ...asked, name: of(asked.name, w) }),
            ),
          ),
      ],
      [
        9,
        fc
          .tuple(verb, name, fc.boolean(), waits)
          .map(([verb, name, byName, waits]) =>
            step(`${verb} ${name}`, waits, (m, w) => about(m, w, of(name, w), byName, verb)),
          ),
      ],
      [
        1,
        fc
          .tuple(name, name, waits)
          .map(([source, name, waits]) =>
            step(`fork ${source} as ${name}`, waits, (m, w) => fork(m, w, of(source, w), of(name, w))),
          ),
      ],
      [1, waits.map((waits) => step("list", waits, list))],
      [
        1,
        fc
          .tuple(fc.constantFrom("v0", "v1", undefined), fc.boolean())
          .map(([name, remove]) =>
            step(`volume ${name} ${remove}`, "yes", (m, w) =>
              volume(m, w, name ? of(name, w) : keptVolume(w), remove && name !== undefined),
            ),
          ),
      ],
      [
        1,
        fc
          .tuple(fc.constantFrom("v0", "v1", undefined), fc.integer({ min: 0, max: 3 }))
          .map(([name, parts]) =>
            step(`upload ${name} ${parts}`, parts === 0 ? "yes" : "no", (m, w) =>
              upload(m, w, name ? of(name, w) : keptVolume(w), FILE_BYTES, FILE_BYTES - parts * PART_BYTES),
            ),
          ),
      ],
      [
        1,
        fc
          .tuple(name, fc.integer({ min: 1, max: 40 }))
          .map(([name, ms]) => step(`logs ${name}`, "no", (m, w) => readLog(m, w, of(name, w), ms))),
      ],
      [
        1,
        fc
          .tuple(name, fc.integer({ min: 1, max: 40 }))
          .map(([name, ms]) => step(`pipe ${name}`, "no", (m, w) => pipe(m, w, of(name, w), ms))),
      ],
      [
        1,
        fc
          .tuple(name, fc.constantFrom("Crashed", "Stopped" as const))
          .map(([name, how]) => step(`${name} dies`, "yes", (m, w) => die(m, w, of(name, w), how))),
      ],
      [
        1,
        fc
          .tuple(name, waits)
          .map(([name, waits]) => step(`modify ${name}`, waits, (m, w) => modify(m, w, of(name, w)))),
      ],
      [
        1,
        fc
          .tuple(name, fc.constantFrom("s0", "s1"), chance(1, 3))
          .map(([source, name, remove]) =>
            step(`snapshot ${name} of ${source} ${remove}`, "yes", (m, w) =>
              snapshot(m, w, of(source, w), of(name, w), remove),
            ),
          ),
      ],
      [
        1,
        fc
          .tuple(fc.constantFrom(...often), fc.constantFrom("v0", ...NAMES))
          .map(([verb, name]) =>
            forAll(`${owner} tries ${verb} of the other's ${name}`, "no", (models, world) =>
              tryAnothers(models.of(otherThan(owner)), world.as(owner), of(name, world), verb),
            ),
          ),
      ],
    ];
  };
  const common = OWNERS.flatMap((owner) =>
    // One owner does most of it: two in the same places meet more seldom.
    kindsOf(owner).flatMap(([weight, kind]) =>
      Array.from({ length: weight * (owner === "ann" ? 3 : 1) }, () => kind),
    ),
  );
  return [...common, ...(faults ? faultSteps(forAll) : []), ...(restarts ? restartSteps(forAll) : [])];
}

type Make = (line: string, waits: Waits, act: (models: Models, world: World) => Promise<void>) => Step;

function faultSteps(step: Make): fc.Arbitrary<Step>[] {
  const command = fc.constantFrom(
    "create",
    "start",
    "pause",
    "resume",
    "fork",
    "modify",
    "snapshot",
    "stop",
    "rm",
    "ls",
    "inspect",
    "pull",
    "image",
    "volume",
    "*",
  );
  const fault = fc.constantFrom(...FAULTS);
  const rule: fc.Arbitrary<FaultRule> = fc.tuple(command, fault, fc.integer({ min: 30, max: 250 }));
  const on = fc
    .tuple(fc.array(rule, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 2 ** 30 }))
    .map(([rules, seed]) =>
      step(`faults ${JSON.stringify(rules)}`, "to the end", async (models, world) => {
        world.note(`faults ${JSON.stringify(rules)}`);
        for (const model of models.all()) model.troubled = true;
        world.msb.fail(rules, seed);
      }),
    );
  const off = fc.constant(0).map(() =>
    step("no faults", "to the end", async (_model, world) => {
      world.note("no faults");
      world.msb.recover();
    }),
  );
  const settled = fc.constant(0).map(() => step("settle", "for all", settle));
  return [on, on, on, off, off, settled];
}

function restartSteps(step: Make): fc.Arbitrary<Step>[] {
  const signals = ["SIGKILL", "SIGTERM"] as const;
  return signals.map((signal) =>
    fc.constant(signal).map(() => step(signal, "to the end", (m, w) => restart(m, w, signal))),
  );
}

const chance = (part: number, of: number): fc.Arbitrary<boolean> =>
  fc.integer({ min: 1, max: of }).map((number) => number <= part);
