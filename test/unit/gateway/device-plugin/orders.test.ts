import { mkdirSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PluginConnection } from "./fake-kubelet";
import { World } from "./world";

/** What may happen on a node, in any order. */
const EVENTS = {
  kubeletStarts: async ({ kubelet }: World) => {
    if (!kubelet.isRunning) await kubelet.start();
  },
  kubeletStops: ({ kubelet }: World) => kubelet.stop(),
  kubeletIsKilled: ({ kubelet }: World) => kubelet.stop({ leavesSocket: true }),
  kubeletRestarts: async ({ kubelet }: World) => {
    kubelet.stop({ leavesSocket: true });
    await kubelet.start();
  },
  kubeletDropsConnections: ({ kubelet }: World) => kubelet.dropConnections(),
  kubeletRefuses: ({ kubelet }: World) => {
    kubelet.refusal = "not now";
  },
  kubeletAccepts: ({ kubelet }: World) => {
    kubelet.refusal = undefined;
  },
  socketsAreRemoved: ({ kubelet }: World) => kubelet.removeOthers(),
  deviceGoes: (world: World) => world.takeDevice(),
  deviceComes: (world: World) => world.bringDevice(),
  timePasses: () => sleep(30),
} as const;
type Event = keyof typeof EVENTS | "someoneWatches" | "someoneStopsReading";
const anyEvents = fc.array(
  fc.constantFrom<Event>(...(Object.keys(EVENTS) as Event[]), "someoneWatches", "someoneStopsReading"),
  { maxLength: 14 },
);

test("whatever happens in whatever order, the kubelet knows the device's state in the end, by one registration", async () => {
  await fc.assert(
    fc.asyncProperty(anyEvents, fc.boolean(), async (events, hasDevice) => {
      const world = World.start({ devices: 20, timing: { watch: 60 } });
      const { kubelet } = world;
      const others: PluginConnection[] = [];
      try {
        for (const event of events) {
          if (event !== "someoneWatches" && event !== "someoneStopsReading") await EVENTS[event](world);
          else {
            const other = new PluginConnection(world.socket);
            others.push(other);
            const stream = other.watch();
            if (event === "someoneWatches") stream.resume();
          }
        }
        for (const other of others) other.close();
        kubelet.refusal = undefined;
        await EVENTS.kubeletStarts(world);
        await EVENTS[hasDevice ? "deviceComes" : "deviceGoes"](world);

        await world.kubeletSees(hasDevice ? "Healthy" : "Unhealthy");
        await world.until(() => kubelet.watched === 1);
        const asked = kubelet.allocate(["kvm-3"]);
        if (hasDevice) await expect(asked).resolves.toBeDefined();
        else await expect(asked).rejects.toThrow("can't be used");
        expect(kubelet.doubleNames).toEqual([]);
        expect(world.sockets.length).toBeLessThanOrEqual(1);
        expect(world.lines.filter(({ level }) => level >= 50)).toEqual([]);

        await world.stopped();
        expect(world.sockets).toEqual([]);
        await world.until(() => kubelet.watched === 0);
      } finally {
        for (const other of others) other.close();
        await world.end();
      }
    }),
    { numRuns: 40 },
  );
});

test.each([
  ["a kubelet that is stopped and started", { leavesSocket: false }],
  ["one that is killed and started", { leavesSocket: true }],
])("%s is registered with again, with a new socket", async (_what, how) => {
  const world = World.start();
  const { kubelet } = world;
  try {
    await kubelet.start();
    for (let round = 1; round <= 5; round++) {
      await world.kubeletSees("Healthy");
      expect(kubelet.registrations).toHaveLength(round);
      kubelet.stop(how);
      await kubelet.start();
    }
    await world.kubeletSees("Healthy");
    expect(world.sockets).toEqual([kubelet.registrations.at(-1)?.endpoint]);
  } finally {
    await world.end();
  }
});

test("a plugin whose folder is gone for a while comes back with it", async () => {
  const world = World.start();
  const { kubelet, folder } = world;
  try {
    await kubelet.start();
    await world.kubeletSees("Healthy");
    kubelet.stop();
    rmSync(folder, { recursive: true });
    await sleep(50);
    mkdirSync(folder);
    await kubelet.start();
    await world.kubeletSees("Healthy");
  } finally {
    await world.end();
  }
});
