import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  boundPolicy,
  type EgressPolicy,
  recordedEgress,
} from "../../../docker/gateway/src/backends/msb/egress";
import { ruleArguments } from "../../../docker/gateway/src/backends/msb/network-rules";
import { settled, wanted } from "./backend-contract/world";
import { until } from "./harness";
import { MsbWorld } from "./msb-world";

/** Each lets a guest reach all that the one before does, and more. */
const POLICIES: EgressPolicy[] = [
  { level: "none" },
  { level: "public", hostRanges: ["203.0.113.9/32"] },
  { level: "public" },
  { level: "public", grants: [{ destination: { cidr: "10.1.0.0/16" } }] },
  { level: "all" },
].map((policy) => recordedEgress.parse({ ...policy, ownNetworks: ["172.18.0.2/16"] }));

/** The rules that msb is given under each. */
const RULES = POLICIES.map((policy) =>
  ruleArguments(boundPolicy(wanted("any").spec, policy)?.rules ?? []).join(" "),
);

type Step =
  | { do: "policy"; rank: number }
  | { do: "create"; run: boolean }
  | { do: "start" | "stop" | "fork" | "fail" | "cut"; which: number }
  | { do: "drained" | "crashed" };

const which = fc.nat(100);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("policy"), rank: fc.nat(POLICIES.length - 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("create"), run: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("start"), which }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("stop", "fork", "fail", "cut"), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("drained", "crashed") }) },
);

/** A server whose policy changes, and what a test knows of its sandboxes without their records. */
class Guests {
  readonly ids: string[] = [];
  private rank = 2;
  /** The sandboxes that forks have their rules from. */
  private readonly sources = new Map<string, string>();

  private constructor(readonly world: MsbWorld) {}

  static async make(): Promise<Guests> {
    const now = (): EgressPolicy => POLICIES[guests?.rank ?? 2] as EgressPolicy;
    let guests: Guests | undefined;
    guests = new Guests(await MsbWorld.make({}, { egress: { known: now, required: now } }));
    return guests;
  }

  private get sandboxes() {
    return this.world.backend.sandboxes;
  }

  /** The policy that the rules in msb were made from; undefined where msb has no such sandbox. */
  private rankOf(id: string): number | undefined {
    if (!this.world.has(id, "status")) return undefined;
    const lines = readFileSync(join(this.world.home, "fake", "calls.log"), "utf8").split("\n");
    const made = this.sources.get(id) ?? id;
    const call = lines.findLast((line) => line.startsWith("args: ") && line.includes(`--name ${made}`));
    return RULES.indexOf((call?.match(/--net-rule \S+/g) ?? []).join(" "));
  }

  /** What the record on the disk says. */
  private recorded(id: string): number {
    const file = join(this.world.home, "gateway", "sandboxes", `${id}.json`);
    const { egress } = JSON.parse(readFileSync(file, "utf8"));
    return POLICIES.findIndex((policy) => JSON.stringify(policy) === JSON.stringify(egress));
  }

  async take(step: Step): Promise<void> {
    if (step.do === "policy") this.rank = step.rank;
    else if (step.do === "create") {
      const { id } = await this.sandboxes.create(
        wanted(`box-${this.ids.length}`, { desired: step.run ? "running" : "stopped" }),
      );
      this.ids.push(id);
      await settled(this.world, id);
      if (step.run) await this.sandboxes.answered(id);
    } else if ("which" in step) {
      const id = this.ids[step.which % Math.max(1, this.ids.length)];
      if (id !== undefined) await this[step.do](id);
    } else await this.world.restart(step.do);
    for (const id of this.ids) {
      await settled(this.world, id);
      const rank = this.rankOf(id);
      if (rank !== undefined) expect(this.recorded(id)).toBe(rank);
    }
  }

  private async start(id: string): Promise<void> {
    const before = this.rankOf(id);
    const { status } = await settled(this.world, id);
    await this.sandboxes.want(id, "running");
    const { status: after, failure } = await settled(this.world, id);
    if (status === "running") return;
    if (before === undefined) expect([after, this.rankOf(id)]).toEqual(["running", this.rank]);
    else if (before <= this.rank) expect([after, this.rankOf(id)]).toEqual(["running", before]);
    else expect([after, failure?.kind]).toEqual(["failed", "conflict"]);
  }

  private async stop(id: string): Promise<void> {
    await this.sandboxes.want(id, "stopped");
    await settled(this.world, id);
  }

  private async fork(id: string): Promise<void> {
    const { status } = await settled(this.world, id);
    const rank = this.rankOf(id) ?? 0;
    const name = `fork-${this.ids.length}`;
    const forks = await this.sandboxes.fork(id, { names: [name], inherit: new Set() }).catch(() => []);
    expect(forks.length).toBe(status === "running" && rank <= this.rank ? 1 : 0);
    for (const fork of forks) {
      this.ids.push(fork.id);
      this.sources.set(fork.id, this.sources.get(id) ?? id);
      expect((await settled(this.world, fork.id)).status).toBe("running");
      await this.sandboxes.answered(fork.id);
    }
  }

  /** A boot that fails, which leaves nothing of one that was not made. */
  private async fail(id: string): Promise<void> {
    await this.world.boots("fail");
    await this.sandboxes.want(id, "running");
    await settled(this.world, id);
    await this.world.boots("well");
  }

  /** A first boot that the end of the server cuts off. */
  private async cut(id: string): Promise<void> {
    if (this.rankOf(id) !== undefined) return this.start(id);
    await this.world.boots("hang");
    await this.sandboxes.want(id, "running");
    const isBooting = async () => {
      const file = join(this.world.home, "fake", "sandboxes", `${id}.status`);
      const { settled } = (await this.sandboxes.get({ id }, {})) ?? { settled: true };
      return settled || (this.world.has(id, "status") && readFileSync(file, "utf8") === "Starting\n");
    };
    await until(isBooting, "its boot to begin");
    await this.world.restart("crashed");
    await this.world.boots("well");
  }
}

test("any row of requests, policies and restarts: a record tells what the rules are, and that decides a start", {
  timeout: 300_000,
}, async () => {
  const rows = fc.array(step, { minLength: 4, maxLength: 14 });
  const row: Step[] = [
    { do: "create", run: false },
    { do: "policy", rank: 3 },
    { do: "cut", which: 0 },
    { do: "policy", rank: 2 },
    { do: "start", which: 0 },
    { do: "create", run: false },
    { do: "policy", rank: 0 },
    { do: "start", which: 1 },
    { do: "stop", which: 1 },
    { do: "start", which: 1 },
  ];
  const one = async (steps: Step[]) => {
    const guests = await Guests.make();
    for (const each of steps) await guests.take(each);
  };
  await fc.assert(fc.asyncProperty(rows, one), { numRuns: 8, examples: [[row]], endOnFailure: true });
});
