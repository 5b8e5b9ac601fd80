import { writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FAKE_MSB, fakeAgent, handleOf, TestGateway, temporaryFolder, until } from "./harness";

/** A sandbox whose agent listens, and how its microVM dies: msb notes it, and its connections break. */
async function running(gateway: TestGateway, name: string) {
  const { body } = await gateway.create(name, {}, "");
  const sockets: Socket[] = [];
  const agent = await fakeAgent(gateway.home, name, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.write("ready");
  });
  await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running`);
  await until(() => sockets.length > 0, "the server to follow it");
  const status = join(gateway.home, "fake", "sandboxes", `${handleOf(gateway.home, name)}.status`);
  const die = (word: string) => {
    writeFileSync(status, `${word}\n`);
    for (const socket of sockets.splice(0)) socket.destroy();
    agent.close();
  };
  return { id: body.id as string, die, path: `/v1/sandboxes/${body.id}` };
}

/** An msb whose list takes so long that it is asked for every eight seconds at most. */
function slowToList(): string {
  const path = join(temporaryFolder(), "msb");
  writeFileSync(path, `#!/bin/sh\n[ "$1" != ls ] || sleep 2\nexec ${FAKE_MSB} "$@"\n`, { mode: 0o755 });
  return path;
}

test.each([
  ["Crashed", "failed"],
  ["Stopped", "stopped"],
])("a microVM that ended (%s) is %s at once, and a start starts it", async (word, status) => {
  const gateway = await TestGateway.start({ MSB_PATH: slowToList() });
  const { path, die } = await running(gateway, "dies");
  expect((await gateway.get(path)).body.status).toBe("running");
  const began = Date.now();
  die(word);
  await until(async () => (await gateway.get(path)).body.status === status, status, 6_000);
  expect(Date.now() - began, "not by the next list").toBeLessThan(6_000);
  expect((await gateway.post(`${path}/start?wait_for=running`)).body.status).toBe("running");
  expect(gateway.made("dies")?.status).toBe("Running");
});

test("a start looks whether what seems to run does", async () => {
  const gateway = await TestGateway.start();
  const { body } = await gateway.create("unseen");
  writeFileSync(
    join(gateway.home, "fake", "sandboxes", `${handleOf(gateway.home, "unseen")}.status`),
    "Crashed\n",
  );
  expect((await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running`)).body.status).toBe("running");
  expect(gateway.made("unseen")?.status).toBe("Running");
});

test("a connection that breaks while the microVM lives changes nothing, and is made anew", async () => {
  const gateway = await TestGateway.start();
  const { body } = await gateway.create("lives", {}, "");
  const sockets: Socket[] = [];
  await fakeAgent(gateway.home, "lives", (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
  });
  await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running`);
  await until(() => sockets.length === 1, "the first");
  sockets[0]?.destroy();
  await until(() => sockets.length === 2, "the second");
  expect((await gateway.get(`/v1/sandboxes/${body.id}`)).body.status).toBe("running");
});

test("one that is stopped keeps none of its agent's connections, and is followed again when it runs", async () => {
  const gateway = await TestGateway.start();
  const { body } = await gateway.create("rests", {}, "");
  const open = new Set<Socket>();
  // Like a relay that outlives its guest: it never closes by itself.
  await fakeAgent(gateway.home, "rests", (socket) => {
    open.add(socket);
    socket
      .on("error", () => undefined)
      .on("close", () => open.delete(socket))
      .resume();
    socket.on("end", () => socket.end());
  });
  const path = `/v1/sandboxes/${body.id}`;
  for (let round = 0; round < 2; round++) {
    await gateway.post(`${path}/start?wait_for=running`);
    await until(() => open.size === 1, "the server to follow it");
    expect((await gateway.post(`${path}/stop`)).body.status).toBe("stopped");
    await until(() => open.size === 0, "the connection to be given back");
  }
});

test("a death is noticed without a request even where no agent could be reached", {
  timeout: 20_000,
}, async () => {
  const gateway = await TestGateway.start();
  const { body } = await gateway.create("unheard");
  const { sandboxes } = gateway.gateway.backend;
  const ended = sandboxes.until(body.id, ({ status }) => status === "failed", AbortSignal.timeout(15_000));
  const status = join(gateway.home, "fake", "sandboxes", `${handleOf(gateway.home, "unheard")}.status`);
  writeFileSync(status, "Crashed\n");
  expect((await ended).status).toBe("failed");
});

test("an agent that can be reached only later is followed then", { timeout: 20_000 }, async () => {
  const gateway = await TestGateway.start();
  await gateway.create("late");
  let connections = 0;
  await fakeAgent(gateway.home, "late", (socket) => {
    connections++;
    socket.on("error", () => undefined).resume();
  });
  await until(() => connections === 1, "the server to follow it", 15_000);
});
