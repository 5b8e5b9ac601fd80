import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { controlSocketPath } from "../../../docker/gateway/src/backends/msb/agent-socket";
import { withPauses } from "../../../docker/gateway/src/backends/msb/pause-state";
import type { Seen } from "../../../docker/gateway/src/backends/msb/reconciler";
import { running, settled } from "./backend-contract/world";
import { until } from "./harness";
import { MsbWorld } from "./msb-world";

/** What a microVM does when it is asked whether it is paused. */
type Answer = (socket: Socket) => void;
const says =
  (paused: boolean, recovery_required: boolean): Answer =>
  (socket) =>
    socket.end(`${JSON.stringify({ ok: true, pause: { paused, recovery_required } })}\n`);
const RUNS = says(false, false);

const NOT_RUNNING: Record<string, Answer> = {
  "it is paused": says(true, false),
  "its resume went wrong half-way": says(false, true),
  "it answers in pieces": (socket) => {
    socket.write('{"ok":true,"pause":{"paused":true,');
    setTimeout(() => socket.end('"recovery_required":false}}\n'), 20);
  },
  "it fails": (socket) => socket.end('{"ok":false,"error_code":"invalid_request"}\n'),
  "it says something else": (socket) => socket.end("\u0000\n"),
  "it says nothing": (socket) => socket.end(),
  "it breaks off": (socket) => socket.destroy(),
  "it says more than it could": (socket) => socket.write("x".repeat(128 * 1024)),
  "it does not answer": () => undefined,
};

const SAYS_PAUSED = Object.values(NOT_RUNNING).slice(0, 3);
/** All but silence. */
const ANSWERS = Object.values(NOT_RUNNING).slice(0, -1);

/** Gives a microVM a control socket; each request is noted. */
async function control(world: MsbWorld, id: string, answer: () => Answer) {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on("error", () => undefined));
    socket.once("data", (data) => {
      asked.push(String(data));
      answer()(socket);
    });
  });
  const path = controlSocketPath(world.home, id);
  mkdirSync(dirname(path), { recursive: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { asked, close };
}

const row = (name: string, observed: Seen["observed"]) => ({ name, observed, createdAt: "" });

test("of what was paused, only what its microVM says ends that; without one that listens it is over", async () => {
  const world = await MsbWorld.make();
  const paused = { home: world.home, isFirst: () => false, wasPaused: () => true, timeoutMs: 1_000 };
  for (const [how, answer] of Object.entries({ ...NOT_RUNNING, "it runs": RUNS })) {
    const { asked, close } = await control(world, "box", () => answer);
    const [told] = await withPauses([row("box", "running")], paused);
    expect([how, told?.observed]).toEqual([how, answer === RUNS ? "running" : "paused"]);
    expect(asked).toEqual(['{"op":"pause_state"}\n']);
    close();
  }
  expect(await withPauses([row("box", "running")], paused)).toEqual([row("box", "running")]);
});

test("a microVM is asked only where msb's word is news, and where none answers nothing has changed", async () => {
  const world = await MsbWorld.make();
  let answer = RUNS;
  const { asked, close } = await control(world, "box", () => answer);
  const observed = fc.constantFrom<Seen["observed"]>("running", "paused", "stopped", "crashed");
  await fc.assert(
    fc.asyncProperty(
      ...[observed, fc.boolean(), fc.boolean(), fc.constantFrom(RUNS, ...ANSWERS)],
      async (listed: Seen["observed"], was: boolean, first: boolean, how: Answer) => {
        answer = how;
        asked.length = 0;
        const options = { home: world.home, wasPaused: () => was, isFirst: () => first, timeoutMs: 30_000 };
        const [told] = await withPauses([row("box", listed)], options);
        const isNews = listed === "running" && (was || first);
        expect(asked.length).toBe(isNews ? 1 : 0);
        const says =
          how === RUNS ? "running" : SAYS_PAUSED.includes(how) ? "paused" : was ? "paused" : "running";
        expect(told?.observed).toBe(isNews ? says : listed);
      },
    ),
  );
  close();
});

test("it is resumed in msb, and stopped cleanly, whatever msb's lists have said while it was paused", async () => {
  const world = await MsbWorld.make();
  const { sandboxes } = world.backend;
  const { id } = await running(world, "box");
  let answer = RUNS;
  const { asked, close } = await control(world, id, () => answer);
  writeFileSync(join(world.home, "fake", "late"), "");
  const inMsb = () => readFileSync(join(world.home, "fake", "sandboxes", `${id}.status`), "utf8").trim();
  for (const [desired, told] of [
    ["running", "it is paused"],
    ["stopped", "it fails"],
  ] as const) {
    answer = NOT_RUNNING[told] ?? RUNS;
    await sandboxes.want(id, "paused");
    expect(await settled(world, id)).toMatchObject({ status: "running", paused: true });
    const before = asked.length;
    const isLooked = async () => {
      const { items } = await sandboxes.list({ labels: {}, limit: 1 });
      return asked.length > before || items[0]?.paused === false;
    };
    await until(isLooked, "a list of msb's to be looked into", 20_000);
    expect(await sandboxes.get({ id }, {})).toMatchObject({ status: "running", paused: true });
    await sandboxes.want(id, desired);
    expect(await settled(world, id)).toMatchObject({ status: desired, paused: false, failure: null });
    expect(inMsb().toLowerCase()).toBe(desired);
  }
  expect(readFileSync(join(world.home, "fake", "stops.log"), "utf8")).not.toContain("--force");
  close();
});
