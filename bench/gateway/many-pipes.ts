import { setTimeout as sleep } from "node:timers/promises";
import { alternate, type Line, median, meets, words } from "./figures";
import type { Rig } from "./setup";
import { gatewayDial, plainDial, type Wire } from "./wire";

const PIPES = 500;
const ROUNDS = 5;
const ROUND_MS = 2_000;
const SIZE = 1024;
const MEMORY_GOAL = { atMost: 200 };
/** Of the rate without the stalled reader: what the others must keep at least. */
const OTHERS_GOAL = { atLeast: 0.9 };
/** Bytes that may be on their way to a reader that does not read: the buffers of two sockets and of the gateway. */
const STALLED_BYTES = 16 * 1024 * 1024;

/** 500 pipes at once, each busy; in every other round one more reader takes nothing of a flood. */
export async function manyPipes(rig: Rig): Promise<Line[]> {
  const wires: Wire[] = [];
  let broken = 0;
  for (let number = 0; number < PIPES; number++) {
    const sandbox = rig.sandboxes[number % rig.sandboxes.length];
    if (!sandbox) throw new Error("the rig has no sandbox");
    const wire = await gatewayDial(rig.gateway.port, sandbox.id)();
    wire.socket.once("close", () => broken++);
    wire.order("E");
    wires.push(wire);
  }
  const busy = keepBusy(wires);
  const memory: number[] = [];
  const measure = async () => {
    const before = busy.count();
    const began = performance.now();
    await sleep(ROUND_MS);
    memory.push(rig.gateway.program.memoryMib());
    return (busy.count() - before) / ((performance.now() - began) / 1000);
  };
  const stall = await stalledReader(rig);
  const both = await alternate(
    ROUNDS,
    async () => {
      const end = await stall.begin();
      const rate = await measure();
      await end();
      return rate;
    },
    measure,
  );
  const idle = busy.idle();
  busy.stop();
  const failures = broken;
  for (const wire of wires) wire.close();

  const kept = median(both.ours) / median(both.theirs);
  const most = Math.max(rig.gateway.program.memoryMib("VmHWM"), ...memory);
  return [
    {
      what: `${PIPES} pipes busy, 1 stalled reader beside them: round trips of ${SIZE} bytes`,
      ...{ against: "without the stalled reader", unit: "/s", ...both },
      goal: `${words(OTHERS_GOAL)} ×, no failure`,
      result: `${kept.toFixed(2)} ×, ${failures} broken, ${idle} without progress`,
      met: meets(kept, OTHERS_GOAL) && failures === 0 && idle === 0,
    },
    {
      what: `memory of the server meanwhile`,
      ...{ against: "", unit: "MiB", ours: memory, theirs: [] },
      goal: `${words(MEMORY_GOAL)} MiB`,
      result: `at most ${most.toFixed(0)} MiB`,
      met: meets(most, MEMORY_GOAL),
    },
    {
      what: "on the way to the stalled reader",
      ...{ against: "", unit: "MiB", ours: stall.flooded().map((bytes) => bytes / 1024 / 1024), theirs: [] },
      goal: `≤ ${STALLED_BYTES / 1024 / 1024} MiB`,
      result: `at most ${(Math.max(...stall.flooded()) / 1024 / 1024).toFixed(1)} MiB`,
      met: Math.max(...stall.flooded()) <= STALLED_BYTES,
    },
  ];
}

/** One message after the other on each wire, there and back. */
function keepBusy(wires: Wire[]) {
  const counts = wires.map(() => 0);
  const seen = wires.map(() => 0);
  let going = true;
  for (const [number, wire] of wires.entries()) {
    const frame = wire.encode(Buffer.alloc(SIZE, "x"));
    let left = SIZE;
    wire.onPayload(({ length }) => {
      left -= length;
      if (left > 0) return;
      left = SIZE;
      counts[number] = (counts[number] ?? 0) + 1;
      if (going) wire.socket.write(frame);
    });
    wire.socket.write(frame);
  }
  return {
    count: () => counts.reduce((sum, count) => sum + count, 0),
    /** How many have got nothing back since the last time. */
    idle: () => counts.filter((count, number) => count === seen[number]).length,
    stop: () => {
      going = false;
    },
  };
}

/** A pipe with a flood that nobody reads, and how many bytes of it had left the agent when it was ended. */
async function stalledReader(rig: Rig) {
  const [sandbox] = rig.sandboxes;
  if (!sandbox) throw new Error("the rig has no sandbox");
  const { id, socketPath } = sandbox;
  const amounts: number[] = [];
  const sentSoFar = async () => {
    const wire = await plainDial({ path: socketPath })();
    const answer = new Promise<number>((resolve) =>
      wire.onPayload((piece) => resolve(Number(piece.readBigUInt64BE(0)))),
    );
    wire.order("S");
    const sent = await answer;
    wire.close();
    return sent;
  };
  return {
    begin: async () => {
      const before = await sentSoFar();
      const wire = await gatewayDial(rig.gateway.port, id)();
      wire.order("F");
      wire.socket.pause();
      return async () => {
        amounts.push((await sentSoFar()) - before);
        wire.close();
      };
    },
    flooded: () => amounts,
  };
}
