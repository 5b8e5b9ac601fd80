import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestGateway } from "./harness";

/** A body that arrives in drops holds a connection, and what is read of it, for as long as it likes. */
let gateway: TestGateway;
const sockets: Socket[] = [];
beforeAll(async () => {
  gateway = await TestGateway.start({ BODY_TIMEOUT_SECONDS: "1" });
});
afterAll(() => {
  for (const socket of sockets) socket.destroy();
});

/** Sends a head, then a byte every 50 ms; resolves with all that came when the server hangs up. */
function trickle(head: string[]): Promise<string> {
  const { port } = new URL(gateway.url);
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port: Number(port) });
    sockets.push(socket);
    let answer = "";
    socket.on("error", () => undefined);
    socket.write(`${[...head, "Host: x", "Authorization: Bearer x"].join("\r\n")}\r\n\r\n`);
    const drops = setInterval(() => socket.writable && socket.write("a"), 50);
    socket.on("data", (data) => {
      answer += data;
    });
    socket.on("close", () => {
      clearInterval(drops);
      resolve(answer);
    });
  });
}

const json = ["Content-Type: application/json", "Content-Length: 100000"];

describe.concurrent("a body that trickles", () => {
  test("is ended with the contract's error", async () => {
    const began = Date.now();
    const answer = await trickle(["POST /v1/sandboxes HTTP/1.1", ...json]);
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toEqual({
      error: { code: "invalid_request", message: "no body within 1 seconds" },
    });
    expect(Date.now() - began).toBeLessThan(4_000);
  });

  test.each([
    ["where no body is taken", "GET /v1/volumes HTTP/1.1", /^HTTP\/1\.1 200 /],
    ["after a refusal", "POST /v1/nowhere HTTP/1.1", /^HTTP\/1\.1 408 /],
  ])("is ended %s", async (_where, request, status) => {
    const began = Date.now();
    expect(await trickle([request, ...json])).toMatch(status);
    expect(Date.now() - began).toBeLessThan(4_000);
  });

  test("is not ended where it is a file", async () => {
    const path = Buffer.from("slow.txt").toString("base64url");
    const { body: volume } = await gateway.get("/v1/volumes/default");
    const { port } = new URL(gateway.url);
    const socket = connect({ host: "127.0.0.1", port: Number(port) });
    sockets.push(socket);
    const drops = 40;
    socket.write(
      [
        `PUT /v1/volumes/${volume.id}/files/content HTTP/1.1`,
        ...["Host: x", "Authorization: Bearer x", "Connection: close", `X-Msb-File-Path: ${path}`],
        ...[`Content-Length: ${drops}`, "\r\n"],
      ].join("\r\n"),
    );
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
    });
    for (let drop = 0; drop < drops; drop++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      socket.write("a");
    }
    await new Promise((resolve) => socket.once("close", resolve));
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});

test("a request whose body came in time is left alone, however long its answer takes", async () => {
  const { status } = await gateway.create("slow-stop", { env: [{ key: "SLOW_STOP", value: "1.5" }] });
  expect(status).toBe(200);
  expect((await gateway.post("/v1/sandboxes/by-name/slow-stop/stop")).body.status).toBe("stopped");
});
