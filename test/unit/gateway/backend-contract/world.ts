import { expect } from "vitest";
import { type ErrorKind, ServiceError } from "../../../../docker/gateway/src/errors";
import type { Limits } from "../../../../docker/gateway/src/limits/capacity";
import type { Backend, Owner, Sandbox, Wanted } from "../../../../docker/gateway/src/sandboxes/backend";
import { sandboxSpec } from "../../../../docker/gateway/src/sandboxes/spec";

/** A backend over a world of its own, and what a test has to do there that no client can. */
export type World = {
  readonly backend: Backend;
  /** What happens to the boots that begin from here on, and to those that hang. */
  boots: (how: "well" | "fail" | "hang") => Promise<void>;
  /** The same of captures: those that hang have begun. */
  captures: (how: "well" | "fail" | "hang") => Promise<void>;
  /** The same of pauses and their ends. */
  pauses: (how: "well" | "fail" | "hang") => Promise<void>;
  /** Gives a sandbox's guest an agent that sends back what it gets, from its next boot to its end. */
  agent: (id: string) => Promise<void>;
  /** Ends a running microVM, as a crash of the guest does. */
  kill: (id: string) => Promise<void>;
  /** A guest has said something: it is in the log when this resolves. */
  say: (id: string, source: "stdout" | "stderr", text: string) => Promise<void>;
  /** Ends the backend, after a `drain` or as a crash does, and opens another one over the same state. */
  restart: (how: "drained" | "crashed") => Promise<void>;
};

export type WorldOptions = {
  limits?: Partial<Limits>;
  /** Whether names are for each owner by itself; default: they are. */
  namesPerOwner?: boolean;
  /** The limits are to hold for what is beside each other, as forks and snapshots are beside their sandbox. */
  beside?: boolean;
};

export type MakeWorld = (options?: WorldOptions) => Promise<World>;

export type Change = Partial<Omit<Wanted, "spec">> & { spec?: Record<string, unknown> };

/** What a small sandbox is wanted to be; not to run, unless that is said. */
export const wanted = (name: string, { spec, ...change }: Change = {}): Wanted => ({
  spec: sandboxSpec.parse({ name, reference: "starter", resources: { memory_mib: 64 }, ...spec }),
  ...{ slug: name, owner: "ann", desired: "stopped" },
  ...change,
});

export const within = (ms: number): AbortSignal => AbortSignal.timeout(ms);
export const settled = ({ backend }: World, id: string): Promise<Sandbox> =>
  backend.sandboxes.until(id, (sandbox) => sandbox.settled, within(20_000));
export const ended = ({ backend }: World, id: string): Promise<Sandbox> =>
  backend.sandboxes.until(id, (sandbox) => sandbox.ended, within(20_000));

/** A sandbox that runs, with an agent, and whose client knows of it. */
export async function running(world: World, name: string, change: Change = {}): Promise<Sandbox> {
  const { sandboxes } = world.backend;
  const { id } = await sandboxes.create(wanted(name, change));
  await world.agent(id);
  await sandboxes.want(id, "running");
  const sandbox = await settled(world, id);
  expect(sandbox).toMatchObject({ status: "running", settled: true, ended: false, failure: null });
  return sandbox;
}

/** Expects a refusal of one of those kinds, in terms of the service: never a status of HTTP, never a bare error. */
export async function refused(attempt: Promise<unknown>, ...kinds: ErrorKind[]): Promise<ServiceError> {
  const error = await attempt.then(
    () => new Error("was not refused"),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(ServiceError);
  expect(kinds).toContain(error.kind);
  expect(error).not.toHaveProperty("statusCode");
  expect(error.message).not.toBe("");
  return error;
}

/** All that an owner has, or everybody, by pages of that size. */
export async function listed({ backend }: World, owner?: Owner, limit = 500): Promise<Sandbox[]> {
  const all: Sandbox[] = [];
  for (;;) {
    const { items, more } = await backend.sandboxes.list({ owner, labels: {}, limit, after: all.at(-1) });
    expect(items.length).toBeLessThanOrEqual(limit);
    all.push(...items);
    if (!more) return all;
    expect(items).not.toEqual([]);
  }
}
