import { mkdirSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import { TestGateway, temporaryFolder, until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const WORKSPACE = "/v1/volumes/00000000-0000-4000-8000-000000000002/files";
const MIB = 1024 * 1024;
const at = (path: string | Buffer) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });

/** A request whose body, or whose answer, is left hanging by the client. */
function hanging(gateway: TestGateway, method: string, path: string, headers: Record<string, string> = {}) {
  const asked = request(`${gateway.url}${WORKSPACE}/content`, {
    method,
    agent: false,
    headers: { authorization: "Bearer x", ...at(path), ...headers },
  });
  const end = new Promise<number | "ended">((resolve) => {
    asked.once("response", (answer: IncomingMessage) => resolve(answer.statusCode ?? 0));
    asked.once("error", () => resolve("ended"));
    asked.once("close", () => resolve("ended"));
  });
  return { asked, end };
}

const start = (env: Record<string, string> = {}) =>
  TestGateway.start({ LIMIT_DISK_RESERVE_MIB: "0", ...env });
const workspace = (gateway: TestGateway, ...path: string[]) => join(gateway.home, "workspace", ...path);
/** What is being written to the workspace, or was left there. */
const uploads = (gateway: TestGateway) =>
  readdirSync(workspace(gateway), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes(".msb-uploads"))
    .map((entry) => entry.name);
const write = (asked: ClientRequest, text: string) => new Promise((done) => asked.write(text, done));

/** Attributes of files take three times as long to read as the limit of these tests. */
function slowAttributes(): void {
  const folder = temporaryFolder();
  const script = '#!/bin/sh\nsleep 3\n[ ! -x /usr/bin/getfattr ] || exec /usr/bin/getfattr "$@"\n';
  writeFileSync(join(folder, "getfattr"), script, { mode: 0o755 });
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
}

describe("an upload", () => {
  test("of which nothing comes any more is ended, and leaves nothing", async () => {
    const gateway = await start({ TRANSFER_IDLE_SECONDS: "1" });
    const { asked, end } = hanging(gateway, "PUT", "/f");
    await write(asked, "a beginning");
    await until(() => uploads(gateway).length === 1, "it is being written");
    const slow = hanging(gateway, "PUT", "/slow");
    for (let byte = 0; byte < 8; byte++) {
      await write(slow.asked, "x");
      await sleep(400);
    }
    slow.asked.end();
    expect(await end).toBe("ended");
    expect(await slow.end).toBe(200);
    await until(() => uploads(gateway).length === 0, "nothing is left");
    const listed = (await gateway.get(WORKSPACE, at("/"))).body.entries;
    expect(listed.map(({ path }: { path: string }) => path)).toEqual(["/slow"]);
  });

  test("that is whole is not cut off while it gets to the disk", async () => {
    const gateway = await start({ TRANSFER_IDLE_SECONDS: "1" });
    const first = hanging(gateway, "PUT", "/f");
    first.asked.end("old");
    expect(await first.end).toBe(200);
    // Those of the old file are read once all has come.
    slowAttributes();
    const { asked, end } = hanging(gateway, "PUT", "/f");
    asked.end("new");
    expect(await end).toBe(200);
  });

  test("whose client goes away leaves nothing, and the folder of uploads is nobody's", async () => {
    const gateway = await start();
    const { asked, end } = hanging(gateway, "PUT", "/dir/f");
    await write(asked, "a beginning");
    await until(() => uploads(gateway).length === 1, "it is being written");
    expect((await gateway.get(WORKSPACE, at("/"))).body.entries).toMatchObject([{ path: "/dir" }]);
    for (const path of ["/.msb-uploads", "/.msb-uploads/x"]) {
      const { status, body } = await gateway.get(`${WORKSPACE}/stat`, at(path));
      expect([status, body.error.code]).toEqual([400, "invalid_volume_path"]);
    }
    asked.destroy();
    await end;
    await until(() => uploads(gateway).length === 0, "nothing is left");
    expect((await gateway.get(`${WORKSPACE}/exists`, at("/dir/f"))).body).toEqual({ exists: false });
  });

  test("larger than allowed is refused at once, or as soon as it is known", async () => {
    const gateway = await start({ LIMIT_UPLOAD_BYTES: "1000" });
    const announced = hanging(gateway, "PUT", "/f", { "content-length": "1001" });
    announced.asked.flushHeaders();
    expect(await announced.end).toBe(413);
    announced.asked.destroy();
    const streamed = hanging(gateway, "PUT", "/f");
    await write(streamed.asked, "x".repeat(1001));
    expect(await streamed.end).toBe(413);
    streamed.asked.destroy();
    const exact = hanging(gateway, "PUT", "/f");
    exact.asked.end("x".repeat(1000));
    expect(await exact.end).toBe(200);
    expect(uploads(gateway)).toEqual([]);
  });

  test("beyond so many at once is refused; so is any transfer beyond the key's connections", async () => {
    const gateway = await start({ LIMIT_UPLOADS: "1", LIMIT_CONNECTIONS: "2" });
    writeFileSync(workspace(gateway, "large"), "");
    truncateSync(workspace(gateway, "large"), 200 * MIB);
    const first = hanging(gateway, "PUT", "/f");
    await write(first.asked, "a beginning");
    await until(() => uploads(gateway).length === 1, "it is being written");
    const second = hanging(gateway, "PUT", "/g");
    second.asked.end("x");
    expect(await second.end).toBe(429);
    const download = hanging(gateway, "GET", "/large");
    download.asked.once("response", (answer) => answer.pause());
    download.asked.end();
    expect(await download.end).toBe(200);
    const post = { from: "/large", to: "/copy" };
    expect((await gateway.post(`${WORKSPACE}/copy`, post)).status).toBe(429);
    download.asked.destroy();
    await until(
      async () => (await gateway.post(`${WORKSPACE}/copy`, post)).status === 200,
      "a place is free",
    );
    first.asked.end();
    expect(await first.end).toBe(200);
    const third = hanging(gateway, "PUT", "/g");
    third.asked.end("x");
    expect(await third.end).toBe(200);
  });

  test("leaves places for those of other keys", async () => {
    const { gateway } = await withKeys(
      [
        { id: "ann", key: "a" },
        { id: "bob", key: "b" },
      ],
      { LIMIT_UPLOADS: "4", LIMIT_DISK_RESERVE_MIB: "0" },
    );
    const of = (key: string, path: string) => hanging(gateway, "PUT", path, bearer(key));
    const open = ["/1", "/2"].map((path) => of("a", path));
    for (const { asked } of open) await write(asked, "a beginning");
    await until(() => uploads(gateway).length === 2, "they are being written");
    const third = of("a", "/3");
    third.asked.end("x");
    expect(await third.end).toBe(429);
    const other = of("b", "/4");
    other.asked.end("x");
    expect(await other.end).toBe(200);
    for (const { asked, end } of open) {
      asked.end();
      expect(await end).toBe(200);
    }
    const again = of("a", "/3");
    again.asked.end("x");
    expect(await again.end).toBe(200);
  });

  test("that a crash cut off is gone after the next start", async () => {
    const gateway = await start();
    const left = workspace(gateway, ".msb-uploads", "0123");
    mkdirSync(left, { recursive: true });
    writeFileSync(join(left, "half"), "a beginning");
    await gateway.close();
    const next = await TestGateway.start({}, gateway.home);
    await until(() => uploads(next).length === 0, "nothing is left");
  });
});

describe("a download", () => {
  test("that the client does not read any more is ended", async () => {
    const gateway = await start({ TRANSFER_IDLE_SECONDS: "1" });
    writeFileSync(workspace(gateway, "large"), "");
    truncateSync(workspace(gateway, "large"), 200 * MIB);
    const { asked } = hanging(gateway, "GET", "/large");
    const cut = new Promise<string>((resolve) => {
      asked.once("response", (answer) => {
        answer.pause().once("close", () => resolve(answer.complete ? "whole" : "cut off"));
        setTimeout(() => answer.resume(), 3500);
      });
    });
    asked.end();
    expect(await cut).toBe("cut off");
  });

  test("of a file that becomes shorter is cut off, not left hanging", async () => {
    const gateway = await start();
    writeFileSync(workspace(gateway, "f"), "");
    truncateSync(workspace(gateway, "f"), 200 * MIB);
    const { asked } = hanging(gateway, "GET", "/f");
    const cut = new Promise<string>((resolve) => {
      asked.once("response", (answer) => {
        truncateSync(workspace(gateway, "f"), 10);
        answer.resume().once("close", () => resolve(answer.complete ? "whole" : "cut off"));
      });
    });
    asked.end();
    expect(await cut).toBe("cut off");
  });
});

test.each([
  ["list", "", "/"],
  ["download", "/content", "/f"],
])(
  "a %s is not cut off while the server works for it",
  async (_what, route, path) => {
    const gateway = await start({ TRANSFER_IDLE_SECONDS: "1" });
    // As guests leave them: what such a file is, its attributes tell.
    writeFileSync(workspace(gateway, "f"), "text", { mode: 0o600 });
    slowAttributes();
    const { status, body } = await gateway.get(`${WORKSPACE}${route}`, at(path));
    expect([status, body.entries?.length ?? body]).toEqual([200, route === "" ? 1 : "text"]);
  },
  20_000,
);

test("a list that nobody reads counts as a connection, and is ended", async () => {
  const gateway = await start({ TRANSFER_IDLE_SECONDS: "3", LIMIT_CONNECTIONS: "1" });
  // More than the kernel holds for a connection whose reader does not read.
  const names = Array.from({ length: 60_000 }, (_, index) => `${"x".repeat(240)}${index}`);
  for (const name of names) writeFileSync(workspace(gateway, name), "");
  const asked = request(`${gateway.url}${WORKSPACE}`, {
    agent: false,
    headers: { authorization: "Bearer x", ...at("/") },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    asked.once("error", reject);
    asked.once("response", (answer) => resolve(answer.pause()));
  });
  asked.end();
  const answer = await answered;
  const status = async () => (await gateway.get(WORKSPACE, at("/none"))).status;
  await until(async () => (await status()) === 429, "it counts", 30_000);
  await until(async () => (await status()) === 404, "a place is free", 30_000);
  await expect(text(answer)).rejects.toThrow("aborted");
}, 90_000);

test("a name that is no text is shown, and its bytes beside it serve as a path", async () => {
  const gateway = await start();
  const name = Buffer.from([0x2f, 0x63, 0xe9]);
  const upload = await fetch(`${gateway.url}${WORKSPACE}/content`, {
    method: "PUT",
    headers: { authorization: "Bearer x", ...at(name) },
    body: "x",
  });
  expect(upload.status).toBe(200);
  const [entry, ...others] = (await gateway.get(WORKSPACE, at("/"))).body.entries;
  expect([entry.path, entry.path_base64, others]).toEqual(["/c\ufffd", name.toString("base64url"), []]);
  const gone = await gateway.request("DELETE", WORKSPACE, {
    headers: { "x-msb-file-path": entry.path_base64 },
  });
  expect(gone.status).toBe(200);
  expect((await gateway.get(WORKSPACE, at("/"))).body.entries).toEqual([]);
});
