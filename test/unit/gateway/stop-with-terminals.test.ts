import { request } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { fakeAgent, TestGateway } from "./harness";

/** An open terminal of a client that reads nothing any more, so that it answers nothing: a laptop that is asleep. */
function silentTerminal(gateway: TestGateway, id: string): Promise<Socket> {
  const headers = {
    ...{ connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
    ...{ authorization: "Bearer x", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
  };
  return new Promise((resolve, reject) => {
    const asked = request(`${gateway.url}/v1/sandboxes/${id}/agent`, { headers });
    asked.on("upgrade", (_response, socket: Socket) => resolve(socket.pause()));
    asked.on("error", reject).end();
  });
}

test("a stop does not wait for terminals that are silent, which would be half a minute each", async () => {
  const gateway = await TestGateway.start();
  const sockets: Socket[] = [];
  for (const name of ["a", "b", "c"]) {
    const { body } = await gateway.create(name);
    await fakeAgent(gateway.home, body.id, (socket) => socket.on("error", () => undefined).resume());
    sockets.push((await silentTerminal(gateway, body.id)).on("error", () => undefined));
  }
  const late = sleep(20_000, "late", { ref: false });
  expect(await Promise.race([gateway.gateway.stop().then(() => "stopped"), late])).toBe("stopped");
  for (const socket of sockets) socket.destroy();
});
