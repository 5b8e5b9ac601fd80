import { once } from "node:events";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { Writable } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import type { Health } from "../../../../docker/gateway/src/device-plugin/api";
import { Watchers } from "../../../../docker/gateway/src/device-plugin/watchers";
import { type DeviceList, PluginConnection } from "./fake-kubelet";
import { World } from "./world";

/** Lists for so many devices are larger than what a connection takes in before it is read. */
const MANY = 10_000;
const MOST_WATCHERS = 16;

let world: World;
const connections: PluginConnection[] = [];
const sessions: http2.ClientHttp2Session[] = [];
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  for (const session of sessions.splice(0)) session.destroy();
  await world?.end();
});

async function registered(devices?: number): Promise<void> {
  world = World.start({ devices });
  await world.kubelet.start();
  await world.kubeletSees("Healthy");
}

/** Another stream, and what it was told, list by list. */
function watch() {
  const connection = new PluginConnection(world.socket);
  connections.push(connection);
  const stream = connection.watch();
  const told: string[] = [];
  const read = () =>
    stream.on("data", ({ devices }: DeviceList) => {
      const healths = new Set(devices.map(({ health }) => health));
      told.push(devices.length === world.config.KVM_DEVICES ? [...healths].join() : "some are missing");
    });
  return { stream, told, read };
}

/** A stream whose client reads nothing before it is told to: HTTP/2 alone, since a client of gRPC reads ahead. */
async function silentWatcher() {
  const session = http2.connect("http://localhost", { createConnection: () => connect(world.socket) });
  sessions.push(session);
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/v1beta1.DevicePlugin/ListAndWatch" },
    ...{ "content-type": "application/grpc", te: "trailers" },
  });
  // One message, of no bytes.
  stream.end(Buffer.alloc(5));
  await once(stream, "response");
  const chunks: Buffer[] = [];
  return {
    read: () => stream.on("data", (chunk: Buffer) => chunks.push(chunk)),
    /** The first device's health in each list that is whole. */
    told: () => {
      const bytes = Buffer.concat(chunks);
      const found: string[] = [];
      for (let at = 0; at + 5 <= bytes.length; ) {
        const end = at + 5 + bytes.readUInt32BE(at + 1);
        if (end > bytes.length) break;
        found.push(bytes.subarray(at, at + 40).includes("Unhealthy") ? "Unhealthy" : "Healthy");
        at = end;
      }
      return found;
    },
  };
}

async function flap(): Promise<void> {
  world.takeDevice();
  await world.kubeletSees("Unhealthy");
  world.bringDevice();
  await world.kubeletSees("Healthy");
}

test("all that watch are told of each change, in its order; one more than may is refused", async () => {
  await registered();
  const watchers = Array.from({ length: MOST_WATCHERS - 1 }, watch);
  for (const { read } of watchers) read();
  await world.until(() => watchers.every(({ told }) => told.length === 1));

  const tooMany = watch();
  tooMany.read();
  const [refused] = await once(tooMany.stream, "error");
  expect(refused.code).toBe(grpc.status.RESOURCE_EXHAUSTED);

  world.takeDevice();
  await world.until(() => watchers.every(({ told }) => told.length === 2));
  world.bringDevice();
  await world.until(() => watchers.every(({ told }) => told.length === 3));
  for (const { told } of watchers) expect(told).toEqual(["Healthy", "Unhealthy", "Healthy"]);

  watchers[0]?.stream.cancel();
  for (let isIn = false; !isIn; ) {
    const next = watch();
    next.read();
    const ends = new Promise((resolve) => next.stream.once("status", () => resolve(false)));
    const lists = new Promise((resolve) => next.stream.once("data", () => resolve(true)));
    isIn = Boolean(await Promise.race([ends, lists]));
  }
  expect(world.kubelet.registrations).toHaveLength(1);
});

test("one that does not read holds nobody up, costs no more than what it holds, and gets the state at last", async () => {
  await registered(MANY);
  const slow = await silentWatcher();
  const FLAPS = 25;
  for (let index = 0; index < FLAPS; index++) await flap();
  world.takeDevice();
  await world.kubeletSees("Unhealthy");
  slow.read();
  // Whatever was held for it comes before these.
  for (let index = 0; index < 3; index++) await flap();
  world.takeDevice();
  await world.kubeletSees("Unhealthy");
  await world.until(() => slow.told().at(-1) === "Unhealthy");
  expect(slow.told()[0]).toBe("Healthy");
  expect(slow.told().length).toBeLessThan(FLAPS / 2);
});

test("whatever is read when, one list at most is on its way, and the last one is of the state", async () => {
  const steps = fc.array(fc.constantFrom("changes", "is looked at", "is read"), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      let health: Health = "Healthy";
      const read: string[] = [];
      const unread: (() => void)[] = [];
      const stream = new Writable({
        objectMode: true,
        write: ({ devices: [first] }: DeviceList, _encoding, done) => {
          unread.push(() => {
            read.push(first?.health ?? "none");
            done();
          });
        },
      });
      const watchers = new Watchers(["kvm-0"], () => health);
      // Of a stream of gRPC, what is used is a Writable's.
      watchers.add(stream as unknown as Parameters<Watchers["add"]>[0]);
      const readOne = async () => {
        unread.shift()?.();
        await new Promise(setImmediate);
      };
      for (const step of all) {
        if (step === "changes") health = health === "Healthy" ? "Unhealthy" : "Healthy";
        else if (step === "is looked at") watchers.tellAll();
        else await readOne();
        expect(stream.writableLength).toBeLessThanOrEqual(1);
      }
      watchers.tellAll();
      while (unread.length > 0) await readOne();
      expect(read.at(-1)).toBe(health);
      expect(read.every((each, index) => each !== read[index - 1])).toBe(true);
    }),
  );
});
