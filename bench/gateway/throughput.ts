import { alternate, type Line, ratioLine } from "./figures";
import type { Rig } from "./setup";
import { startSocat } from "./setup";
import { type Dial, gatewayDial, plainDial, type Wire } from "./wire";

const ROUNDS = 5;
const MIB = 1024 * 1024;
/** Bytes that go through all connections of one measurement together. */
const AMOUNT = 256 * MIB;
const CHUNK = 64 * 1024;

/** The comparison is socat as it comes; what it could do with larger blocks is told, without a goal. */
const COMPARISONS = [
  { connections: 1, against: "socat", blockBytes: 8 * 1024, goal: { atLeast: 0.8 } },
  { connections: 16, against: "socat", blockBytes: 8 * 1024, goal: { atLeast: 0.8 } },
  { connections: 1, against: "socat -b 65536", blockBytes: 64 * 1024 },
];

/** Bytes per second through the pipe, each way, with 1 connection and with 16, against socat. */
export async function throughput(rig: Rig): Promise<Line[]> {
  const [sandbox] = rig.sandboxes;
  if (!sandbox) throw new Error("the rig has no sandbox");
  const ours = gatewayDial(rig.gateway.port, sandbox.id);
  const lines: Line[] = [];
  for (const { connections, against, blockBytes, goal } of COMPARISONS) {
    const socat = await startSocat(sandbox.socketPath, blockBytes);
    const theirs = plainDial({ host: "127.0.0.1", port: socat.port });
    try {
      for (const [direction, measure] of [
        ["from the sandbox", download],
        ["to the sandbox", upload],
      ] as const) {
        const both = await alternate(
          ROUNDS,
          () => rate(ours, connections, measure),
          () => rate(theirs, connections, measure),
        );
        const what = `pipe, ${direction}, ${connections} connection${connections > 1 ? "s" : ""}`;
        lines.push(ratioLine({ what, against, unit: "MiB/s", ...both }, goal));
      }
    } finally {
      socat.stop();
    }
  }
  return lines;
}

export type Measure = (wire: Wire, amount: number) => Promise<void>;

/** MiB per second of all connections together. */
export async function rate(dial: Dial, connections: number, measure: Measure): Promise<number> {
  const wires = await Promise.all(Array.from({ length: connections }, dial));
  const amount = AMOUNT / connections;
  const began = performance.now();
  await Promise.all(wires.map((wire) => measure(wire, amount)));
  const seconds = (performance.now() - began) / 1000;
  for (const wire of wires) wire.close();
  return AMOUNT / MIB / seconds;
}

export function download(wire: Wire, amount: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = amount;
    wire.onPayload(({ length }) => {
      left -= length;
      if (left === 0) resolve();
      if (left < 0) reject(new Error("more bytes came than were sent"));
    });
    wire.socket.once("close", () => reject(new Error(`the pipe broke with ${left} bytes to come`)));
    wire.order("D", amount);
  });
}

export function upload(wire: Wire, amount: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const frame = wire.encode(Buffer.alloc(CHUNK, "x"));
    let left = amount;
    const more = () => {
      while (left > 0) {
        left -= CHUNK;
        if (!wire.socket.write(frame)) return;
      }
    };
    // The agent's one byte says that everything has arrived.
    wire.onPayload(() => resolve());
    wire.socket.once("close", () => reject(new Error(`the pipe broke with ${left} bytes to send`)));
    wire.order("U", amount);
    wire.socket.on("drain", more);
    more();
  });
}
