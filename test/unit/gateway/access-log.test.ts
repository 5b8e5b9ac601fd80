import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import WebSocket from "ws";
import { fakeAgent, newBody, type TestGateway, until } from "./harness";
import { forEach, rawStatus } from "./spellings";
import { bearer, withKeys } from "./with-keys";

type Line = Record<string, unknown>;
const VOLUME = "00000000-0000-4000-8000-000000000002";

/** All lines of requests from now on. */
function linesOf({ gateway }: TestGateway): Line[] {
  const lines: Line[] = [];
  const { log } = gateway.app;
  const child = log.child.bind(log);
  vi.spyOn(log, "child").mockImplementation((...given: Parameters<typeof child>) =>
    Object.assign(child(...given), { info: (fields: Line) => lines.push(fields) }),
  );
  return lines;
}

const KEY = { id: "ci", key: "k" };

async function started() {
  const made = await withKeys([KEY]);
  const lines = linesOf(made.gateway);
  const { body: box } = await made.create("k", "box");
  await fakeAgent(made.gateway.home, "box", (socket) => socket.on("error", () => undefined).pipe(socket));
  const line = async (end: string, route: string) => {
    const is = (one: Line) => one.end === end && one.route === route;
    await until(() => lines.some(is), `the line of ${route}, ${end}`);
    expect(lines.filter(is)).toHaveLength(1);
    return lines.find(is);
  };
  const dial = async () => {
    const url = `${made.gateway.url.replace("http", "ws")}/v1/sandboxes/${box.id}/agent`;
    const client = new WebSocket(url, { headers: bearer("k") });
    await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
    return client;
  };
  return { ...made, lines, line, dial, id: box.id as string };
}

test("a session: who, where, how much, how long, for the audit trail", async () => {
  const { gateway, line, dial, id } = await started();
  const client = await dial();
  client.send(Buffer.alloc(50_000));
  let got = 0;
  client.on("message", (data: Buffer) => {
    got += data.length;
  });
  await until(() => got === 50_000, "the echo");
  await sleep(100);
  client.close();
  const found = await line("session", "/v1/sandboxes/:id/agent");
  expect(found).toMatchObject({ key: "ci", sandbox: id, name: "box", status: 101, audit: true });
  expect(found?.bytesIn).toBeGreaterThan(50_000);
  expect(found?.bytesOut).toBeGreaterThan(50_000);
  expect(found?.ms).toBeGreaterThan(90);
  const { body } = await gateway.get("/metrics", bearer("k"));
  expect(body).toMatch(
    /request_seconds_count\{method="GET",route="\/v1\/sandboxes\/:id\/agent",status="101"\} 1/,
  );
  expect(body).toMatch(/request_bytes_total\{route="\/v1\/sandboxes\/:id\/agent",direction="in"\} 5\d{4}/);
});

test("a log stream and an upload that the client leaves", async () => {
  const { gateway, line, id } = await started();
  const cut = new AbortController();
  const stream = await gateway.request("GET", "/v1/quotas", { headers: bearer("k") });
  expect(stream.status).toBe(200);
  await fetch(`${gateway.url}/v1/sandboxes/${id}/logs`, { headers: bearer("k"), signal: cut.signal });
  const upload = request(`${gateway.url}/v1/volumes/${VOLUME}/files/content`, {
    method: "PUT",
    headers: { ...bearer("k"), "x-msb-file-path": Buffer.from("f").toString("base64url") },
  });
  upload.on("error", () => undefined).write(Buffer.alloc(20_000));
  await sleep(200);
  cut.abort();
  upload.destroy();
  expect(await line("aborted", "/v1/sandboxes/:id/logs")).toMatchObject({
    key: "ci",
    sandbox: id,
    name: "box",
  });
  const put = await line("aborted", "/v1/volumes/:id/files/content");
  expect(put).toMatchObject({ key: "ci", volume: VOLUME, audit: true });
  expect(put?.bytesIn).toBeGreaterThan(20_000);
});

test("what ends with its key", async () => {
  const { write, line, dial } = await started();
  const client = await dial();
  write([]);
  await new Promise((resolve) => client.once("close", resolve));
  expect(await line("revoked", "/v1/sandboxes/:id/agent")).toMatchObject({ key: "ci", audit: true });
});

test("changes are lines of the audit trail, refused ones too; questions are not", async () => {
  const { gateway, create, lines } = await started();
  await create("k", "box");
  await gateway.request("POST", "/v1/sandboxes/by-name/box/stop", { body: {}, headers: bearer("k") });
  await gateway.request("POST", "/v1/volumes", { body: { name: "data" }, headers: bearer("k") });
  await gateway.get("/v1/sandboxes", bearer("k"));
  await gateway.request("POST", "/v1/sandboxes", { body: newBody("evil"), headers: bearer("no") });
  await until(() => lines.length >= 6, "the lines");
  const shown = lines.map(({ audit, action, key, name, status }) => [audit, action, key, name, status]);
  expect(shown).toEqual([
    [true, "POST /v1/sandboxes", "ci", "box", 200],
    [true, "POST /v1/sandboxes", "ci", "box", 409],
    [true, "POST /v1/sandboxes/by-name/:name/stop", "ci", "box", 200],
    [true, "POST /v1/volumes", "ci", "data", 200],
    [undefined, undefined, "ci", undefined, 200],
    [undefined, undefined, undefined, undefined, 401],
  ]);
});

test("requests without a key fill no log", async () => {
  const { gateway, lines } = await started();
  const attempts = Array.from({ length: 600 }, (_, index) => index);
  await forEach(attempts, 16, async (index) => {
    const target = index % 3 === 0 ? "/version" : `/v1/sandboxes/${index}`;
    const headers = index % 2 === 0 ? bearer("wrong") : {};
    await rawStatus(gateway.url, { method: index % 5 === 0 ? "POST" : "GET", target, headers });
  });
  await sleep(100);
  const theirs = lines.filter(({ key }) => key === undefined);
  expect(theirs.length).toBeGreaterThan(10);
  expect(theirs.length).toBeLessThan(80);
  const { body } = await gateway.get("/metrics", bearer("k"));
  const leftOut = Number(/log_lines_left_out_total (\d+)/.exec(body)?.[1]);
  expect(leftOut + theirs.length).toBe(600);
});

test("a path holds anything, a line only ids and short names", async () => {
  const { gateway, lines } = await started();
  const long = "%01".repeat(1024);
  const asked = await gateway.get(`/v1/volumes/${long}/files`, { ...bearer("k"), "x-msb-file-path": "" });
  expect(asked.status).toBe(404);
  await gateway.get(`/v1/volumes/${VOLUME}/files`, { ...bearer("k"), "x-msb-file-path": "" });
  const body = { name: "n".repeat(5000) };
  await gateway.request("POST", "/v1/volumes", { body, headers: bearer("k") });
  await gateway.request("POST", "/v1/sandboxes", { body, headers: bearer("k") });
  const of = (route: string) => lines.filter((line) => line.route === route);
  await until(() => of("/v1/sandboxes").length > 1, "the lines");
  const files = of("/v1/volumes/:id/files");
  expect(files.map(({ volume }) => volume)).toEqual([undefined, VOLUME]);
  for (const line of lines) expect(JSON.stringify(line).length).toBeLessThan(600);
});

test("snapshots: made and removed, by their ids", async () => {
  const { gateway, line, id } = await started();
  const ask = (method: string, path: string, body?: object) =>
    gateway.request(method, path, { headers: bearer("k"), body });
  const made = (await ask("POST", "/v1/snapshots", { sandbox_id: id, name: "one" })).body;
  const snapshot = made.id as string;
  const shared = { key: "ci", snapshot, audit: true };
  const fields = { action: "POST /v1/snapshots", sandbox: id, name: "box", status: 202 };
  expect(await line("answered", "/v1/snapshots")).toMatchObject({ ...shared, ...fields });
  await ask("DELETE", "/v1/snapshots/by-name/one");
  const removed = { ...shared, action: "DELETE /v1/snapshots/by-name/:name", status: 200 };
  expect(await line("answered", "/v1/snapshots/by-name/:name")).toMatchObject(removed);
});
