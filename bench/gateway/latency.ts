import { type Line, median, meets, NO_GOAL, quantile, words } from "./figures";
import type { Rig } from "./setup";
import { type Dial, gatewayDial, plainDial, type Wire } from "./wire";

const ROUNDS = 7;
const MESSAGES = 3000;
const SIZE = 64;
const GOAL = { atMost: 0.3 };

/** How much longer a 64-byte message and its echo take through the gateway than on the agent's own socket. */
export async function latency(rig: Rig): Promise<Line[]> {
  const [sandbox] = rig.sandboxes;
  if (!sandbox) throw new Error("the rig has no sandbox");
  const ours = await roundTrips(gatewayDial(rig.gateway.port, sandbox.id));
  const theirs = await roundTrips(plainDial({ path: sandbox.socketPath }));
  const all = { ours: [] as number[][], theirs: [] as number[][] };
  for (let round = -1; round < ROUNDS; round++) {
    const through = await ours.run();
    const direct = await theirs.run();
    if (round < 0) continue; // warm-up
    all.ours.push(through);
    all.theirs.push(direct);
  }
  ours.close();
  theirs.close();
  return [0.5, 0.99].map((part) => {
    const at = (rounds: number[][]) => rounds.map((times) => quantile(times, part));
    const added = median(at(all.ours)) - median(at(all.theirs));
    // Only the median has a goal: the rest is this machine's other work.
    const goal = part === 0.5 ? `added ${words(GOAL)} ms` : NO_GOAL;
    return {
      what: `round trip of ${SIZE} bytes, p${part * 100}`,
      ...{ against: "the agent socket", unit: "ms", ours: at(all.ours), theirs: at(all.theirs) },
      ...{ goal, result: `added ${added.toFixed(3)} ms`, met: part !== 0.5 || meets(added, GOAL) },
    };
  });
}

/** A connection on which one message after the other goes there and back; the times are milliseconds. */
export async function roundTrips(dial: Dial): Promise<{ run: () => Promise<number[]>; close: () => void }> {
  const wire = await dial();
  wire.order("E");
  return { run: () => pingPong(wire), close: wire.close };
}

function pingPong(wire: Wire): Promise<number[]> {
  const frame = wire.encode(Buffer.alloc(SIZE, "x"));
  const times: number[] = [];
  return new Promise((resolve, reject) => {
    let sent = 0;
    let left = SIZE;
    const send = () => {
      left = SIZE;
      sent = performance.now();
      wire.socket.write(frame);
    };
    wire.onPayload(({ length }) => {
      left -= length;
      if (left > 0) return;
      times.push(performance.now() - sent);
      if (times.length === MESSAGES) resolve(times);
      else send();
    });
    wire.socket.once("close", () => reject(new Error("the pipe broke")));
    send();
  });
}
