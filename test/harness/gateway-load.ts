import { type Answer, createBody, type GatewayProcess } from "./gateway";
import type { Random } from "./random";

/** A sandbox that a client was told of, and what it was told last. */
export type Known = {
  id: string;
  name: string;
  ephemeral: boolean;
  state: "created" | "running" | "stopped" | "removed";
  /** A request is under way. */
  busy: boolean;
  /** A request about it was cut off: it may be in the old state or in the new one. */
  uncertain: boolean;
};

export type Work = "create" | "createOnly" | "ephemeral" | "start" | "stop" | "remove" | "list" | "volume";

/** What all clients together were answered, over all restarts of the gateway. */
export type Ledger = {
  /** By id. */
  sandboxes: Map<string, Known>;
  /** Ids by name. */
  volumes: Map<string, string>;
  counts: Record<Work, number>;
  /** Requests without an answer. */
  cutOff: number;
  /** Answers that should not be. */
  unexpected: string[];
  made: number;
};

export const newLedger = (): Ledger => ({
  sandboxes: new Map(),
  volumes: new Map(),
  counts: { create: 0, createOnly: 0, ephemeral: 0, start: 0, stop: 0, remove: 0, list: 0, volume: 0 },
  cutOff: 0,
  unexpected: [],
  made: 0,
});

const WORKS: Work[] = [
  ...(["create", "create", "create", "createOnly", "ephemeral", "ephemeral"] as const),
  ...(["start", "stop", "stop", "remove", "remove", "list", "volume"] as const),
];
/** Above this many sandboxes, removals come first: the fake msb should not be what is measured. */
const ENOUGH = 60;
const START = "start=true&wait_for=running&wait_timeout=90";

/** A client that makes, uses and removes sandboxes, one request after the other, and writes down each answer. */
export class Client {
  constructor(
    private readonly gateway: GatewayProcess,
    private readonly ledger: Ledger,
    private readonly random: Random,
  ) {}

  /** Works until it is told to stop, or the gateway is gone. */
  async work(until: { stopped: boolean }): Promise<void> {
    while (!until.stopped) {
      const live = this.idle(({ state }) => state !== "removed").length;
      const work = live > ENOUGH ? "remove" : this.random.pick(WORKS);
      try {
        if (await this.carryOut(work)) this.ledger.counts[work]++;
      } catch {
        // Every failure to get an answer is a kill: what the gateway answers is never an exception.
        this.ledger.cutOff++;
        return;
      }
    }
  }

  /** False if there is nothing to do it with. */
  private async carryOut(work: Work): Promise<boolean> {
    switch (work) {
      case "create":
      case "createOnly":
      case "ephemeral":
        return this.create(work);
      case "start":
        return this.change(
          ({ state, ephemeral }) => state === "created" || (state === "stopped" && !ephemeral),
          ({ id }) => this.gateway.request("POST", `/v1/sandboxes/${id}/start?wait_for=running`, {}),
          (known) => {
            known.state = "running";
          },
        );
      case "stop":
        return this.change(
          ({ state }) => state === "running",
          ({ id }) => this.gateway.request("POST", `/v1/sandboxes/${id}/stop`, {}),
          (known) => {
            known.state = "stopped";
            // From now on it is removed by itself, at some time.
            known.uncertain = known.ephemeral;
          },
        );
      case "remove":
        return this.change(
          ({ state }) => state !== "removed",
          ({ id }) => this.gateway.request("DELETE", `/v1/sandboxes/${id}`),
          (known) => {
            known.state = "removed";
          },
        );
      case "list":
        this.expect(await this.gateway.request("GET", "/v1/sandboxes?limit=20"), "list");
        return true;
      case "volume": {
        const name = `v-${this.ledger.made++}`;
        const answer = await this.gateway.request("POST", "/v1/volumes", { name });
        if (this.expect(answer, `volume ${name}`)) this.ledger.volumes.set(name, answer.body.id);
        return true;
      }
    }
  }

  private async create(work: "create" | "createOnly" | "ephemeral"): Promise<boolean> {
    const name = `${work.toLowerCase()}-${this.ledger.made++}`;
    const ephemeral = work === "ephemeral";
    const body = createBody(name, {
      // Slow ones are often cut off in the making.
      reference: this.random.next() < 0.3 ? "slow" : "starter",
      lifecycle: { ephemeral, max_duration_secs: null, idle_timeout_secs: null },
    });
    const query = work === "createOnly" ? "" : `?${START}`;
    const answer = await this.gateway.request("POST", `/v1/sandboxes${query}`, body);
    if (!this.expect(answer, `create ${name}`)) return false;
    const { id, status } = answer.body;
    const state = work === "createOnly" ? "created" : "running";
    if (status !== state) this.ledger.unexpected.push(`create ${name}: answered ${status}`);
    this.ledger.sandboxes.set(id, { id, name, ephemeral, state, busy: false, uncertain: false });
    return true;
  }

  /** A request about one sandbox that no other client is busy with. */
  private async change(
    suits: (known: Known) => boolean,
    ask: (known: Known) => Promise<Answer>,
    then: (known: Known) => void,
  ): Promise<boolean> {
    const candidates = this.idle(suits);
    if (candidates.length === 0) return false;
    const known = this.random.pick(candidates);
    known.busy = true;
    known.uncertain = true;
    const answer = await ask(known);
    known.uncertain = false;
    known.busy = false;
    if (this.expect(answer, `${known.name} (${known.state})`)) then(known);
    return true;
  }

  private idle(suits: (known: Known) => boolean): Known[] {
    return [...this.ledger.sandboxes.values()].filter(
      (known) => !known.busy && !known.uncertain && suits(known),
    );
  }

  private expect({ status, body }: Answer, what: string): boolean {
    if (status !== 200) this.ledger.unexpected.push(`${what}: ${status} ${JSON.stringify(body)}`);
    return status === 200;
  }
}
