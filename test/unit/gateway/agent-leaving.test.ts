import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { fakeAgent, newBody, TestGateway, until } from "./harness";
import { UPGRADE } from "./spellings";

const LEAVES = ["end", "destroy", "resetAndDestroy"] as const;

const CLIENTS = 80;

describe("a terminal of a sandbox that is still starting", () => {
  let gateway: TestGateway;
  let path: string;
  beforeAll(async () => {
    gateway = await TestGateway.start();
    boots("hang");
    const { body } = await gateway.request("POST", "/v1/sandboxes?start=true", { body: newBody("slow") });
    expect(body.status).toBe("starting");
    path = `/v1/sandboxes/${body.id}/agent`;
  });
  afterAll(() => boots("well"));

  function boots(how: "hang" | "well"): void {
    mkdirSync(join(gateway.home, "fake"), { recursive: true });
    writeFileSync(join(gateway.home, "fake", "boots"), `${how}\n`);
  }

  const figure = async (name: string) => {
    const { body } = await gateway.gateway.app.inject({ url: "/metrics", headers: { host: "127.0.0.1" } });
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body)?.[1]);
  };

  test("ends with its client, however it leaves", async () => {
    const way = fc.record({
      leave: fc.constantFrom(...LEAVES),
      stayMs: fc.integer({ min: 0, max: 300 }),
      sends: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 300_000 })),
    });
    const head = Object.entries({ host: "127.0.0.1", ...UPGRADE }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const visit = async ({
      leave,
      stayMs,
      sends,
    }: {
      leave: (typeof LEAVES)[number];
      stayMs: number;
      sends: number;
    }) => {
      const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
      socket.on("error", () => undefined).resume();
      await new Promise((resolve) => socket.once("connect", resolve));
      socket.write(`GET ${path} HTTP/1.1\r\n${head.join("")}\r\n`);
      await new Promise((resolve) => setTimeout(resolve, stayMs));
      if (sends > 0) socket.write(Buffer.alloc(sends, 0x82));
      socket[leave]();
    };
    const { server } = gateway.gateway.app;
    const open = () => new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
    const before = await open();
    let accepted = 0;
    const count = () => void accepted++;
    server.on("connection", count);
    await Promise.all(fc.sample(way, CLIENTS).map(visit));
    await until(() => accepted === CLIENTS, "all of them to come", 20_000);
    await until(async () => (await open()) <= before, "all of them to be gone", 20_000);
    server.off("connection", count);
    expect(await figure("msb_gateway_pipes_open")).toBe(0);
  });

  test("opens once the sandbox runs, and loses nothing", async () => {
    const client = new WebSocket(gateway.url.replace("http", "ws") + path);
    const echoed = new Promise<string>((resolve) => {
      let text = "";
      client.on("message", (data) => {
        text += String(data);
        if (text.endsWith("!")) resolve(text);
      });
    });
    const opened = new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
    await until(async () => (await figure("msb_gateway_pipes_open")) === 1, "the terminal to wait", 20_000);
    await fakeAgent(gateway.home, "slow", (socket) => {
      socket.on("error", () => undefined);
      socket.write("ready");
      socket.pipe(socket);
    });
    boots("well");
    await opened;
    client.send(Buffer.from("hello!"));
    expect(await echoed).toBe("readyhello!");
    client.close();
  });
});
