import { chmodSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RequestLife } from "../../../docker/gateway/src/http/request-life";
import { FAKE_MSB, fakeAgent, TestGateway, temporaryFolder, until } from "./harness";
import { forEach, UPGRADE } from "./spellings";

const VOLUME = "00000000-0000-4000-8000-000000000002";
const FIGURES = [
  ...["msb_gateway_connections_held", "msb_gateway_key_holds", "msb_gateway_pipes_open"],
  ...["msb_gateway_pipe_buffer_bytes", "msb_gateway_requests_open", "msb_gateway_body_bytes"],
];

/** An msb that takes its time for a list, so that a client can leave while a route waits for it. */
function slowMsb(): string {
  const path = join(temporaryFolder(), "msb");
  writeFileSync(path, `#!/bin/sh\n[ "$1" != ls ] || sleep 0.1\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** What a leak would make grow. */
async function held({ gateway }: TestGateway): Promise<Record<string, number>> {
  // Not over a socket, which would count.
  const { body } = await gateway.app.inject({ url: "/metrics", headers: { host: "127.0.0.1" } });
  const figure = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body)?.[1]);
  const resources = process.getActiveResourcesInfo();
  const count = (kind: string) => resources.filter((resource) => resource === kind).length;
  return {
    ...Object.fromEntries(FIGURES.map((name) => [name, figure(name)])),
    ...Object.fromEntries(["TCPSocketWrap", "PipeWrap", "FSEventWrap"].map((kind) => [kind, count(kind)])),
    timers: count("Timeout"),
    descriptors: descriptors(),
  };
}

/** The one with which Node watches all folders comes with the first of them, and stays. */
function descriptors(): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "gone";
    }
  });
  return links.filter((link) => link !== "anon_inode:inotify").length;
}

/** Nothing is more than it was before; a timer or two of others may come and go. */
function isFlat(before: Record<string, number>, now: Record<string, number>): boolean {
  return Object.entries(before).every(([what, count]) => (now[what] ?? 0) <= count);
}

test("clients that leave at any moment leave nothing behind", async () => {
  const gateway = await TestGateway.start({ MSB_PATH: slowMsb() });
  const { body: box } = await gateway.create("box");
  let reached = false;
  await fakeAgent(gateway.home, "box", (socket) => {
    reached = true;
    socket.on("error", () => undefined);
    socket.write("ready");
    socket.pipe(socket);
  });
  await until(() => reached, "the server's own connection to the agent", 15_000);
  const { port } = new URL(gateway.url);
  const path = Buffer.from("big").toString("base64url");
  await fetch(`${gateway.url}/v1/volumes/${VOLUME}/files/content`, {
    ...{ method: "PUT", headers: { "x-msb-file-path": path }, body: Buffer.alloc(4 * 1024 * 1024) },
  });

  const requests: [method: string, target: string, headers: Record<string, string>][] = [
    ["GET", `/v1/sandboxes/${box.id}/logs`, {}],
    ["HEAD", `/v1/sandboxes/${box.id}/logs`, {}],
    ["GET", `/v1/sandboxes/${box.id}/agent`, UPGRADE],
    ["GET", `/v1/sandboxes/${box.id}/agent`, UPGRADE],
    ["GET", "/v1/sandboxes/%zz", UPGRADE],
    ["GET", `/v1/volumes/${VOLUME}/files/content`, { "x-msb-file-path": path }],
    ["PUT", `/v1/volumes/${VOLUME}/files/content`, { "x-msb-file-path": path, "content-length": "100000" }],
    ["POST", "/v1/sandboxes", { "content-type": "application/json", "content-length": "5000" }],
  ];
  const visit = fc.record({
    request: fc.constantFrom(...requests),
    /** The part of the bytes that is sent. */
    part: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.double({ min: 0, max: 1, noNaN: true })),
    stayMs: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 5, max: 250 })),
    reads: fc.boolean(),
    leave: fc.constantFrom("reset", "end", "destroy"),
  });

  const leaveAfter = async ({ request, part, stayMs, reads, leave }: (typeof visits)[number]) => {
    const [method, target, headers] = request;
    const lines = Object.entries({ host: "127.0.0.1", ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    const text = `${[`${method} ${target} HTTP/1.1`, ...lines].join("\r\n")}\r\n\r\n${"a".repeat(1000)}`;
    const socket: Socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => undefined);
    if (reads) socket.resume();
    socket.write(text.slice(0, Math.ceil(text.length * part)));
    await sleep(stayMs);
    if (leave === "reset") socket.resetAndDestroy();
    else if (leave === "end") socket.end(() => socket.destroy());
    else socket.destroy();
  };

  const visits = fc.sample(visit, 400);
  // The first ones make what stays for good: pools, caches.
  await forEach(visits.slice(0, 40), 20, leaveAfter);
  let before = await held(gateway);
  const stands = async () => {
    await sleep(500);
    const earlier = before;
    before = await held(gateway);
    return before.msb_gateway_requests_open === 1 && isFlat(earlier, before) && isFlat(before, earlier);
  };
  await until(stands, "all of the first ones to be given back", 30_000);
  await forEach(visits, 20, leaveAfter);
  let now = before;
  const isBack = async () => {
    now = await held(gateway);
    return isFlat(before, now);
  };
  await until(isBack, "all is given back", 30_000).catch(() => expect(now).toEqual(before));
  expect(before).toMatchObject({ msb_gateway_connections_held: 0, msb_gateway_requests_open: 1 });
  expect((await gateway.get("/v1/sandboxes/by-name/box")).body.status).toBe("running");
});

test("what is held is given back once, also by a request that was over before", () => {
  const closed: (() => void)[] = [];
  const raw = { once: (_event: string, act: () => void) => closed.push(act), writableFinished: false };
  const life = new RequestLife({ raw } as never, () => undefined);
  const given: string[] = [];
  life.hold(() => given.push("early"));
  life.hold(() => given.push("handed over")).handOver();
  expect(() => life.check()).not.toThrow();
  expect(life.signal.aborted).toBe(false);
  closed[0]?.();
  life.hold(() => given.push("late"));
  expect(given).toEqual(["early", "late"]);
  expect(() => life.check()).toThrow("gone");
  expect([life.signal.aborted, life.unanswered.aborted, life.end]).toEqual([true, true, "aborted"]);
});
