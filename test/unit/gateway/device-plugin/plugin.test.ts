import { readdirSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { removeDeadSockets } from "../../../../docker/gateway/src/device-plugin/folder";
import { pluginLog } from "../../../../docker/gateway/src/device-plugin/log";
import { DevicePlugin, retryDelay, type Timing } from "../../../../docker/gateway/src/device-plugin/plugin";
import { PluginConnection } from "./fake-kubelet";
import { World } from "./world";

let world: World;
const worlds: World[] = [];
afterEach(async () => {
  for (const each of worlds.splice(0)) await each.end();
});
const start: typeof World.start = (options) => {
  world = World.start(options);
  worlds.push(world);
  return world;
};

async function registered(options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  start(options);
  await world.kubelet.start();
  await world.kubeletSees("Healthy");
  return world;
}

const KVM = { container_path: "/dev/kvm", host_path: "/dev/kvm", permissions: "rw" };

test("a kubelet is told the resource, and gives containers /dev/kvm", async () => {
  const { kubelet, sockets } = await registered();
  expect(kubelet.registrations).toEqual([
    {
      ...{ version: "v1beta1", endpoint: sockets[0], resource_name: "microsandbox.dev/kvm" },
      options: { pre_start_required: false, get_preferred_allocation_available: false },
    },
  ]);
  const { container_responses: got } = await kubelet.allocate(["kvm-0"], ["kvm-999", "kvm-7"]);
  expect(got.map(({ devices }) => devices)).toEqual([[KVM], [KVM]]);
  expect(got.every(({ mounts }) => mounts.length === 0)).toBe(true);
});

test.each([
  ["an id that is not offered", [["kvm-1000"]], "INVALID_ARGUMENT"],
  ["an id of another form", [["kvm-0", "../kvm"]], "INVALID_ARGUMENT"],
  ["a container without an id", [["kvm-0"], []], "INVALID_ARGUMENT"],
  ["an id for two containers", [["kvm-0"], ["kvm-0"]], "INVALID_ARGUMENT"],
  ["more than a request may hold", [["x".repeat(2 ** 20)]], "RESOURCE_EXHAUSTED"],
] as const)("%s is refused", async (_what, containers, code) => {
  const { kubelet } = await registered();
  const refused = kubelet.allocate(...containers.map((ids) => [...ids]));
  await expect(refused).rejects.toMatchObject({ code: grpc.status[code] });
  await expect(kubelet.allocate(["kvm-0"])).resolves.toBeDefined();
});

test("nothing is given while the device is not there, and a kubelet hears of it and of its return", async () => {
  const { kubelet } = await registered();
  world.takeDevice();
  await world.kubeletSees("Unhealthy");
  await expect(kubelet.allocate(["kvm-0"])).rejects.toMatchObject({
    code: grpc.status.FAILED_PRECONDITION,
    details: "this node's /dev/kvm can't be used: it is not there (ENOENT)",
  });
  world.bringDevice();
  await world.kubeletSees("Healthy");
  await expect(kubelet.allocate(["kvm-0"])).resolves.toBeDefined();
});

test("a kubelet that refuses is asked again, less and less often, and told of in one line", async () => {
  start();
  world.kubelet.refusal = "not now";
  await world.kubelet.start();
  await world.until(() => world.kubelet.registrations.length >= 6);
  const names = world.kubelet.registrations.map(({ endpoint }) => endpoint);
  expect(new Set(names).size).toBe(names.length);
  expect(world.sockets.length).toBeLessThanOrEqual(1);
  const failures = world.lines.filter(({ msg }) => msg === "could not register with the kubelet");
  expect(failures[0]?.err).toContain("not now");
  expect(failures.filter(({ level }) => level >= 40)).toHaveLength(1);
  world.kubelet.refusal = undefined;
  await world.kubeletSees("Healthy");
});

test("the time between attempts doubles up to a bound, less up to a half", () => {
  const timing = { firstRetry: 1_000, mostRetry: 30_000 } as Timing;
  const at = (random: number) => [1, 2, 3, 5, 6, 100].map((attempts) => retryDelay(attempts, timing, random));
  expect(at(0)).toEqual([1_000, 2_000, 4_000, 16_000, 30_000, 30_000]);
  expect(at(1)).toEqual([500, 1_000, 2_000, 8_000, 15_000, 15_000]);
});

test("a kubelet that takes a registration and does not watch is registered with again", async () => {
  start({ timing: { watch: 20 } });
  world.kubelet.neverWatches = true;
  await world.kubelet.start();
  await world.until(() => world.kubelet.registrations.length >= 3);
  world.kubelet.neverWatches = false;
  await world.kubeletSees("Healthy");
  expect(world.kubelet.doubleNames).toEqual([]);
});

test("a kubelet that watches is left alone", async () => {
  const { kubelet } = await registered({ timing: { watch: 20, steady: 20 } });
  const looked = world.lines.length;
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(kubelet.registrations).toHaveLength(1);
  expect(world.lines.length).toBe(looked);
});

test("methods that the options do not announce are not there", async () => {
  await registered();
  const connection = new PluginConnection(world.socket);
  for (const method of ["GetPreferredAllocation", "PreStartContainer"])
    await expect(connection.call(method, {})).rejects.toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  connection.close();
});

/** Listens in a folder, on a name that the server does not know: it stays when that is closed. */
async function listenAt(folder: string, name: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, "bound"), resolve));
  renameSync(join(folder, "bound"), join(folder, name));
  return server;
}
const closed = (server: Server) => new Promise((resolve) => server.close(resolve));

test("what a killed plugin of this resource has left is removed, and nothing else", async () => {
  const { folder, config } = await registered();
  const prefix = (world.sockets[0] ?? "").slice(0, -"00000000.sock".length);
  const dead = `${prefix}00000dea.sock`;
  for (const name of [dead, "kvm-0000-dead.sock"]) await closed(await listenAt(folder, name));
  const other = await listenAt(folder, `${prefix}0000a11e.sock`);
  writeFileSync(join(folder, "kubelet_internal_checkpoint"), "{}");
  const before = readdirSync(folder);
  await removeDeadSockets(folder, config.KVM_RESOURCE);
  expect(before).toContain(dead);
  expect(readdirSync(folder)).toEqual(before.filter((name) => name !== dead));
  await closed(other);
});

test("a plugin begins with that", async () => {
  await registered();
  const dead = (world.sockets[0] ?? "").replace(/.{8}\.sock$/, "00000dea.sock");
  await closed(await listenAt(world.folder, dead));
  const other = new DevicePlugin(world.config, pluginLog("silent"));
  const ended = other.run();
  await world.until(() => !world.sockets.includes(dead));
  other.stop();
  await ended;
  expect(world.kubelet.count("Healthy")).toBe(1000);
});
