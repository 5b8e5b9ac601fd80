import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { exec } from "../../../setup/exec";
import { settled, within } from "./backend-contract/world";
import { FAKE_MSB, until } from "./harness";
import { MsbWorld } from "./msb-world";

/** After which a sandbox is idle, in seconds. */
export const IDLE = 0.1;
export const make = () => MsbWorld.make({}, { idlePauseSeconds: IDLE });

export const inMsb = ({ home }: MsbWorld, id: string) =>
  readFileSync(join(home, "fake", "sandboxes", `${id}.status`), "utf8").trim();

/** What the server takes it for. */
export const recorded = ({ home }: MsbWorld, id: string): string =>
  JSON.parse(readFileSync(join(home, "gateway", "sandboxes", `${id}.json`), "utf8")).state;

/** What was asked of msb: pauses and resumes, in order. */
export function asked({ home }: MsbWorld): string[] {
  const log = join(home, "fake", "pauses.log");
  return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
}

/** What a client sees. */
export async function seen(world: MsbWorld, id: string) {
  const { status, paused } = (await world.backend.sandboxes.get({ id }, {})) ?? {};
  return [status, paused];
}

/** Lets it be idle for long enough, and the server look. */
export async function wait(world: MsbWorld, id: string): Promise<void> {
  await sleep(IDLE * 1000 + 20);
  await world.backend.sweep();
  await settled(world, id);
}

export async function paused(world: MsbWorld, id: string): Promise<void> {
  const isPaused = async () => {
    await wait(world, id);
    return inMsb(world, id) === "Paused";
  };
  await until(isPaused, "its pause", 20_000);
  expect(await seen(world, id)).toEqual(["running", false]);
}

/** Past the server, as `npm run sandbox` does. */
export const msb = ({ home }: MsbWorld, ...args: string[]) =>
  exec(FAKE_MSB, args, { env: { MSB_HOME: home } });

/** Opens its agent and hears back from it. @returns closes it */
export async function talk(world: MsbWorld, id: string): Promise<() => Promise<void>> {
  const agent = await world.backend.sandboxes.openAgent(id, within(20_000));
  const heard = once(agent, "data");
  agent.write("hello");
  expect(String(await heard)).toBe("hello");
  return async () => {
    const over = once(agent, "close");
    agent.destroy();
    await over;
  };
}
