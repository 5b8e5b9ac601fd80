import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleGateway, createBody, GatewayProcess } from "../harness/gateway";
import { hashOf, writeKeyFile } from "../harness/key-file";
import { type RawOutcome, sendRaw } from "../harness/raw-socket";
import { removeFolder } from "../harness/remove-folder";

/** An attacker's list: what a stranger, a user with a key and a web page try on the server's port. */

const BODY_LIMIT = 64 * 1024;
const DEFAULT_VOLUME = "00000000-0000-4000-8000-000000000002";
const CANARY = "the-host's-own-secret";

const folder = mkdtempSync(join(tmpdir(), "gw-attacks-"));
const log = join(folder, "gateway.log");
const key = `msb_${"a".repeat(64)}`;
const other = `msb_${"b".repeat(64)}`;
const expired = `msb_${"c".repeat(64)}`;
/** Two stacks with keys of their own, and one in dev mode. */
let mine: GatewayProcess;
let theirs: GatewayProcess;
let dev: GatewayProcess;
let sandboxId: string;

beforeAll(async () => {
  const script = join(folder, "gateway.cjs");
  await bundleGateway(script);
  const start = (name: string, keys: Parameters<typeof writeKeyFile>[1]) => {
    const file = join(folder, `${name}.keys`);
    writeKeyFile(file, keys);
    const env = { DEV_MODE: "false", API_KEYS_FILE: file, LIMIT_BODY_BYTES: String(BODY_LIMIT) };
    return GatewayProcess.start({ script, home: join(folder, name), log, env });
  };
  mine = await start("a", [
    { id: "mine", key },
    { id: "ended", key: expired, expires: "2020-01-01T00:00:00Z" },
  ]);
  theirs = await start("b", [{ id: "theirs", key: other }]);
  dev = await GatewayProcess.start({ script, home: join(folder, "d"), log });
  sandboxId = (await ask("POST", "/v1/sandboxes?start=true&wait_for=running", createBody("box"))).body.id;
  writeFileSync(join(folder, "canary"), CANARY);
});
afterAll(async () => {
  for (const each of [mine, theirs, dev]) await each?.program.kill();
  await removeFolder(folder);
});

const as = (given: string) => ({ authorization: `Bearer ${given}` });
const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  mine.request(method, path, body, { ...as(key), ...headers });

/** Sends a head, line by line as it is, and a body. */
function raw(lines: string[], body = "", port = mine.port): Promise<RawOutcome> {
  const bytes = Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1");
  return sendRaw(port, { kind: "attack", bytes: [bytes] });
}
const head = (line: string, ...fields: string[]) => [
  `${line} HTTP/1.1`,
  "Host: 127.0.0.1",
  `Authorization: Bearer ${key}`,
  ...fields,
];
const upgrade = [
  ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"],
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

describe("keys", () => {
  it.each([
    ["none", {}],
    ["a wrong one", as(`${key.slice(0, -1)}b`)],
    ["a part of the right one", as(key.slice(0, -1))],
    ["one of another stack", as(other)],
    ["one that has expired", as(expired)],
    ["its hash", as(`sha256:${hashOf(key)}`)],
    ["the word of dev mode", as("dev")],
    ["Basic", { authorization: `Basic ${Buffer.from(`mine:${key}`).toString("base64")}` }],
    ["another header", { "x-api-key": key, cookie: `key=${key}` }],
  ])("%s: refused on every route, a WebSocket too", async (_what, headers) => {
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    const routes = [
      ...["GET /v1/sandboxes", `GET /v1/sandboxes/${sandboxId}`, "DELETE /v1/sandboxes/by-name/box"],
      ...["GET /v1/volumes", "GET /v1/quotas", "GET /metrics", "GET /v1/no/such/route"],
    ];
    for (const route of routes) {
      const { statuses, text } = await raw([`${route} HTTP/1.1`, "Host: x", "Connection: close", ...fields]);
      expect([401, 429], `${route}: ${text}`).toContain(statuses[0]);
      expect(text).not.toContain("box");
    }
    const agent = [`GET /v1/sandboxes/${sandboxId}/agent HTTP/1.1`, "Host: x", ...upgrade, ...fields];
    expect([401, 429]).toContain((await raw(agent)).statuses[0]);
  });

  it("of this stack: refused by the other, and taken here all the while", async () => {
    expect((await theirs.request("GET", "/v1/quotas", undefined, as(key))).status).toBe(401);
    expect((await theirs.request("GET", "/v1/quotas", undefined, as(other))).status).toBe(200);
    expect((await ask("GET", "/v1/quotas")).status).toBe(200);
  });

  it("in the address: refused, even beside a right one in its place, and not logged", async () => {
    const url = `${mine.url}/v1/quotas?api_key=${key}`;
    expect((await fetch(url)).status).toBe(400);
    expect((await fetch(url, { headers: as(key) })).status).toBe(400);
    expect((await fetch(`${mine.url}/v1/quotas?x=${key}`)).status).toBe(400);
    expect([401, 429]).toContain((await fetch(`${mine.url}/no/such/${key}`)).status);
    expect((await fetch(`${mine.url}/no/such/${key}`, { headers: as(key) })).status).toBe(404);
  });
});

describe("paths", () => {
  const outside = [
    "../../../canary",
    "..",
    "../workspace/../../canary",
    "a/../../../canary",
    "link",
    "link/canary",
    "\0",
    "/../canary",
  ];

  it.each(outside)("%j as a file of a volume: not found, not written", async (path) => {
    // As a guest can make one.
    const link = join(mine.home, "workspace", "link");
    rmSync(link, { recursive: true, force: true });
    symlinkSync(folder, link);
    const header = { "x-msb-file-path": Buffer.from(path).toString("base64url") };
    const files = `/v1/volumes/${DEFAULT_VOLUME}/files`;
    for (const [method, where, body] of [
      ["GET", `${files}/content`],
      ["GET", files],
      ["PUT", `${files}/content`, "overwritten"],
      ["DELETE", files],
      ["POST", `${files}/copy`, { from: path, to: "copied" }],
      ["POST", `${files}/rename`, { from: path, to: "moved" }],
      ["POST", `${files}/mkdir`, { path: `${path}/made` }],
    ] as const) {
      const answer = await ask(method, where, body, header);
      expect(JSON.stringify(answer.body)).not.toContain(CANARY);
      expect(answer.status, `${method} ${where}`).toBeLessThan(500);
    }
    expect(readFileSync(join(folder, "canary"), "utf8")).toBe(CANARY);
    expect(
      JSON.stringify((await ask("GET", files, undefined, { "x-msb-file-path": "" })).body),
    ).not.toContain("canary");
  });

  it.each([
    "../../canary",
    "..%2f..%2fcanary",
    "%2e%2e/%2e%2e/canary",
    "-rf",
    "--help",
    "a%00b",
    "%2fetc%2fpasswd",
  ])("%s as a name or an id: no such thing", async (name) => {
    for (const path of ["/v1/sandboxes/", "/v1/sandboxes/by-name/", "/v1/volumes/"]) {
      const { statuses, text } = await raw(head(`GET ${path}${name}`, "Connection: close"));
      expect([400, 404], `${path}${name}`).toContain(statuses[0]);
      expect(text).not.toContain(CANARY);
    }
    const decoded = decodeURIComponent(name);
    for (const path of ["/v1/sandboxes", "/v1/volumes"])
      expect((await ask("POST", path, createBody(decoded))).status).toBe(400);
  });

  it.each([
    ["a folder of the server", { mounts: [{ type: "bind", host: "/etc", source: "/etc", guest: "/x" }] }],
    ["a disk of the server", { mounts: [{ type: "disk_image", path: "/dev/sda", guest: "/x" }] }],
    ["a volume by a path", { mounts: [{ type: "named", name: "../../../etc", guest: "/x" }] }],
    ["a file of the server", { patches: [{ type: "copy_file", source: "/etc/shadow", path: "/x" }] }],
    ["a tree of the server", { patches: [{ type: "copy_dir", source: "/", path: "/x" }] }],
    ["a folder as image", { reference: "/var/lib/microsandbox" }],
    [
      "a folder as image, the old way",
      { image: { type: "bind", reference: "/" }, reference: undefined, source: undefined },
    ],
  ])("%s in a create: refused", async (_what, change) => {
    const { status, body } = await ask("POST", "/v1/sandboxes?start=true", createBody("thief", change));
    expect([status, body.error?.code]).toEqual([
      400,
      expect.stringMatching(/^invalid_(request|sandbox_config)$/),
    ]);
  });
});

describe("requests within requests", () => {
  const inner = `GET /v1/volumes/default HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n\r\n`;

  it.each([
    ["length and chunks", ["Content-Length: 4", "Transfer-Encoding: chunked"]],
    ["chunks and length", ["Transfer-Encoding: chunked", "Content-Length: 4"]],
    ["two lengths", ["Content-Length: 0", "Content-Length: 5"]],
    ["a list of lengths", ["Content-Length: 0, 5"]],
    ["a folded field", ["X: a", " Transfer-Encoding: chunked"]],
    ["a folded length", ["Content-Length:", " 5"]],
    ["a space before the colon", ["Transfer-Encoding : chunked"]],
    ["another coding", ["Transfer-Encoding: xchunked"]],
    ["two codings", ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"]],
    ["a coding with a control character", ["Transfer-Encoding: \x0bchunked"]],
    ["a bare line feed", ["X: a\nTransfer-Encoding: chunked"]],
    ["a length with a sign", ["Content-Length: +5"]],
  ])("%s: one answer at most, an error, and nothing of what was hidden", async (_what, fields) => {
    const request = head("POST /v1/sandboxes", "Content-Type: application/json", ...fields);
    const { statuses, text } = await raw(request, `0\r\n\r\n${inner}`);
    expect(statuses.length).toBeLessThanOrEqual(1);
    for (const status of statuses) expect(status).toBe(400);
    expect(text).not.toContain(DEFAULT_VOLUME);
  });
});

describe("bodies that are too large", () => {
  const json = "Content-Type: application/json";

  it("by their announced length: refused before they are read", async () => {
    const { statuses } = await raw(head("POST /v1/sandboxes", json, `Content-Length: ${BODY_LIMIT + 1}`));
    expect(statuses).toEqual([413]);
  });

  it("in chunks that never end: refused at the limit", async () => {
    const chunk = `4000\r\n${" ".repeat(0x4000)}\r\n`;
    const { statuses } = await raw(
      head("POST /v1/sandboxes", json, "Transfer-Encoding: chunked"),
      chunk.repeat(10),
    );
    expect(statuses).toEqual([413]);
  });

  it("a field of the head", async () => {
    expect((await raw(head("GET /v1/quotas", `X: ${"x".repeat(100_000)}`))).statuses).toEqual([431]);
  });
});

describe("a web page", () => {
  const evil = "Origin: https://evil.example";

  it("of another site gets nothing from a server with keys, not even with one", async () => {
    expect((await raw(head("GET /v1/sandboxes", evil, "Connection: close"))).statuses).toEqual([403]);
    expect((await raw(head(`GET /v1/sandboxes/${sandboxId}/agent`, evil, ...upgrade))).statuses).toEqual([
      403,
    ]);
  });

  it.each([
    ["reads", "GET /v1/sandboxes", []],
    ["a form", "POST /v1/sandboxes", ["Content-Type: text/plain", "Content-Length: 2"]],
    ["an action", "POST /v1/sandboxes/by-name/box/stop", ["Content-Length: 2", "Content-Type: text/plain"]],
    ["a WebSocket", "GET /v1/sandboxes/box/agent", upgrade],
    ["what asks for leave first", "OPTIONS /v1/sandboxes", ["Access-Control-Request-Method: DELETE"]],
  ])("of another site, on a server in dev mode: %s", async (_what, line, fields) => {
    const body = line.startsWith("POST") ? "{}" : "";
    const close = line.endsWith("agent") ? [] : ["Connection: close"];
    const send = (...more: string[]) =>
      raw([`${line} HTTP/1.1`, ...more, ...fields, ...close], body, dev.port);
    const local = `Host: 127.0.0.1:${dev.port}`;
    for (const answer of [
      await send(local, evil),
      await send(local, "Sec-Fetch-Site: cross-site"),
      // Its name was pointed to this machine after the page was loaded: to the browser it is one site.
      await send(
        `Host: evil.example:${dev.port}`,
        `Origin: http://evil.example:${dev.port}`,
        "Sec-Fetch-Site: same-origin",
      ),
    ]) {
      expect(answer.statuses[0], answer.text).toBe(403);
      expect(answer.text).not.toMatch(/access-control-allow/i);
    }
  });

  it("is what is refused, not a program on the same machine", async () => {
    expect((await dev.request("GET", "/v1/sandboxes")).status).toBe(200);
    expect(
      (await raw(["GET /v1/sandboxes HTTP/1.1", "Host: localhost", "Connection: close"], "", dev.port))
        .statuses,
    ).toEqual([200]);
  });
});

it("a WebSocket to a route that serves none is refused", async () => {
  expect((await raw(head("GET /v1/sandboxes", ...upgrade))).statuses).toEqual([400]);
});

it("all the while nothing broke, and no log line holds a key, a hash or a path of the attacker's", () => {
  for (const each of [mine, theirs, dev]) expect(each.program.running).toBe(true);
  const text = readFileSync(log, "utf8");
  expect(text).toContain('"key":"mine"');
  for (const secret of [key, other, expired]) {
    expect(text).not.toContain(secret);
    expect(text).not.toContain(hashOf(secret));
  }
  expect(text.split("\n").filter((line) => /"level":[56]0/.test(line))).toEqual([]);
});
