import { existsSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import WebSocket from "ws";
import { FailedAttempts } from "../../../docker/gateway/src/keys/failed-attempts";
import { KeyCheck } from "../../../docker/gateway/src/keys/key-check";
import { readKeys } from "../../../docker/gateway/src/keys/key-file";
import { networkOf } from "../../../docker/gateway/src/limits/networks";
import { hashOf, type KeyLine, writeKeyFile } from "../../harness/key-file";
import { fakeAgent, TestGateway, temporaryFolder, until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

// Each has a gateway of its own, and waits most of its time for a second to pass.
describe.concurrent("the key file", () => {
  test("only its keys are taken, and a changed file counts within a second", async () => {
    const { gateway, status, write } = await withKeys([{ id: "first", key: "msb_one" }]);
    expect(await status("msb_one")).toBe(200);
    expect(await status("msb_two")).toBe(401);
    expect(await status("msb_two", "/metrics")).toBe(401);
    expect(await status("msb_two", "/healthz")).toBe(200);
    for (const authorization of ["Basic msb_one", "", "Bearer", "msb_one"])
      expect((await gateway.get("/v1/quotas", { authorization })).status).toBe(401);
    expect((await gateway.get("/v1/sandboxes", bearer("msb_two"))).body.error.code).toBe("invalid_api_key");
    write([{ id: "second", key: "msb_two" }]);
    expect(await status("msb_two")).toBe(200);
    await sleep(1000);
    expect(await status("msb_one")).toBe(401);
  });

  test("a file that is gone leaves no key; no file at all, no dev mode: nobody gets in", async () => {
    const { file, status } = await withKeys([{ id: "first", key: "msb_one" }]);
    unlinkSync(file);
    await until(async () => (await status("msb_one")) === 401, "the key is gone");
    const without = await TestGateway.start({ DEV_MODE: "false" });
    const { status: refused, body } = await without.get("/v1/sandboxes");
    expect([refused, body.error.message]).toEqual([401, "this server has no API key"]);
  });

  test("dev mode takes any key", async () => {
    const gateway = await TestGateway.start();
    expect((await gateway.get("/v1/sandboxes", bearer("whatever"))).status).toBe(200);
  });

  test("lines: JSON, those of the first version, comments; what is no key is counted", () => {
    const hash = `sha256:${hashOf("k")}`;
    const { keys, refused } = readKeys(
      [
        `{"id":"a","hash":"${hash}","expires":"2030-01-01T00:00:00Z","limits":{"sandboxes":2}}`,
        `${hash} old`,
        hash,
        "# comment",
        "",
        "rubbish",
        `{"id":"a b","hash":"${hash}"}`,
        `{"id":"c","hash":"${hash}","expires":"soon"}`,
        `{"id":"d","hash":"${hash}","limits":{"sandboxes":-1}}`,
      ].join("\n"),
    );
    expect(keys.map(({ id, expiresAt, limits }) => [id, expiresAt, limits])).toEqual([
      ["a", Date.UTC(2030, 0, 1), { sandboxes: 2 }],
      ["old", Infinity, {}],
      [hashOf("k").slice(0, 8), Infinity, {}],
    ]);
    expect(refused).toBe(4);
  });

  test("two keys with one id are one to the server: that is how one replaces the other", async () => {
    const { gateway, create, status, write } = await withKeys([{ id: "ci", key: "old" }], {
      OWN_SANDBOXES: "true",
    });
    expect((await create("old", "box")).status).toBe(200);
    const renewed = { id: "ci", key: "new" };
    write([renewed, { id: "ci", key: "old", expires: inSeconds(8) }]);
    await until(async () => (await status("new")) === 200, "the new key");
    expect(await status("old")).toBe(200);
    expect((await gateway.get("/v1/sandboxes/by-name/box", bearer("new"))).status).toBe(200);
    await until(async () => (await status("old")) !== 200, "the old key's end", 30_000);
    expect(await status("new")).toBe(200);
  });
});

test("whatever is held ends with its key, however holds, their ends and the revocation follow each other", async () => {
  const revoked = { id: "bad", key: "b" };
  const file = join(temporaryFolder(), "keys");
  writeKeyFile(file, [revoked]);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const check = new KeyCheck({ file, devMode: false, usesFile: `${file}.uses`, log: log as never });
  const key = check.identify({ headers: bearer("b"), ip: "::1" } as never);
  const holds: { ended: boolean; release: () => void }[] = [];
  const hold = () => {
    const one = { ended: false };
    const release = check.hold(key, () => {
      one.ended = true;
    });
    holds.push(Object.assign(one, { release }));
  };
  for (let index = 0; index < 5; index++) hold();
  holds[1]?.release();
  writeKeyFile(file, []);
  await until(() => holds[0]?.ended === true, "the key's end");
  // A request that was let in before, and one that ends after.
  hold();
  for (const one of holds.slice(0, 5)) one.release();
  await until(() => holds[5]?.ended === true, "the end of a hold that began after it");
  expect(check.holds).toBe(0);
  await check.close();
});

describe.concurrent("an end", () => {
  /** A running sandbox, and an open pipe to it with each key. */
  async function piped(keys: KeyLine[]) {
    const made = await withKeys(keys);
    const { gateway, create } = made;
    const { body } = await create(keys[0]?.key ?? "", "box");
    await fakeAgent(gateway.home, "box", (socket) => socket.on("error", () => undefined).pipe(socket));
    const pipes = keys.map(({ key }) => {
      const url = `${gateway.url.replace("http", "ws")}/v1/sandboxes/${body.id}/agent`;
      const client = new WebSocket(url, { headers: bearer(key) });
      const closed = new Promise<number>((resolve) => client.once("close", resolve));
      const open = new Promise<void>((resolve, reject) => client.once("open", resolve).once("error", reject));
      return { client, closed, open };
    });
    await Promise.all(pipes.map(({ open }) => open));
    return { ...made, id: body.id as string, pipes };
  }

  const echoes = (client: WebSocket, word: string) =>
    new Promise<boolean>((resolve) => {
      client.once("message", (data) => resolve(String(data) === word));
      client.send(Buffer.from(word));
    });

  test("a revoked key's pipes are closed, those of other keys go on", async () => {
    const [good, bad] = [
      { id: "good", key: "g" },
      { id: "bad", key: "b" },
    ];
    const { pipes, write, status } = await piped([good, bad]);
    write([good]);
    expect(await pipes[1]?.closed).toBe(1008);
    expect(await status("b")).toBe(401);
    expect(pipes[0] && (await echoes(pipes[0].client, "still here"))).toBe(true);
    pipes[0]?.client.close();
  });

  test("an expired key's pipes and log streams are closed too, by the server's clock", async () => {
    // Long enough for a busy machine to get so far.
    const expires = inSeconds(15);
    const { gateway, id, pipes, status } = await piped([
      { id: "good", key: "g" },
      { id: "short", key: "s", expires },
    ]);
    const logs = await fetch(`${gateway.url}/v1/sandboxes/${id}/logs?follow=true`, { headers: bearer("s") });
    const stream = logs.text().then(
      () => "ended",
      () => "cut off",
    );
    expect(logs.status).toBe(200);
    expect(await pipes[1]?.closed).toBe(1008);
    expect(await stream).toBe("cut off");
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires));
    const refused = await gateway.get("/v1/quotas", bearer("s"));
    expect([refused.status, refused.body.error.message]).toEqual([
      401,
      `the API key "short" expired at ${expires}`,
    ]);
    expect(await status("g")).toBe(200);
    expect(pipes[0] && (await echoes(pipes[0].client, "still here"))).toBe(true);
    pipes[0]?.client.close();
  });

  test("a revoked key's upload is cut off, and its file is not there", async () => {
    const { gateway, write } = await withKeys([{ id: "bad", key: "b" }]);
    const files = `/v1/volumes/00000000-0000-4000-8000-000000000002/files`;
    const headers = { ...bearer("b"), "x-msb-file-path": Buffer.from("endless").toString("base64url") };
    const upload = request(`${gateway.url}${files}/content`, { method: "PUT", headers });
    const end = new Promise((resolve) =>
      upload.once("error", () => resolve("cut off")).once("response", resolve),
    );
    upload.write("a beginning");
    // Time to be let in, on a busy machine, too.
    await sleep(2000);
    write([{ id: "good", key: "g" }]);
    expect(await end).toBe("cut off");
    const { body } = await gateway.get(`${files}/exists`, { ...headers, ...bearer("g") });
    expect(body).toEqual({ exists: false });
  });

  test("a client that ignores the end of its pipe reaches the sandbox no more", async () => {
    const heard: string[] = [];
    const { gateway, create, write } = await withKeys([{ id: "bad", key: "b" }]);
    const { body } = await create("b", "box");
    await fakeAgent(gateway.home, "box", (socket) =>
      socket.on("error", () => undefined).on("data", (data) => heard.push(String(data))),
    );
    const url = `${gateway.url.replace("http", "ws")}/v1/sandboxes/${body.id}/agent`;
    const client = new WebSocket(url, { headers: bearer("b") });
    await new Promise((resolve) => client.once("open", resolve));
    client.send(Buffer.from("before"));
    await until(() => heard.includes("before"), "the pipe works");
    const closed = new Promise((resolve) => client.once("close", resolve));
    // It stops reading: the news of the end never gets to it.
    client.pause();
    write([]);
    await sleep(1200);
    client.send(Buffer.from("after"));
    await sleep(200);
    expect(heard).toEqual(["before"]);
    client.resume();
    await closed;
  });
});

describe("failed attempts", () => {
  test("end in 429 with the seconds to wait; a valid key of the same address is never locked out", async () => {
    const { gateway, status } = await withKeys([{ id: "good", key: "g" }]);
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 30; attempt++) statuses.push(await status(`guess-${attempt}`));
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(401));
    expect(statuses.slice(-5)).toEqual(Array(5).fill(429));
    const refused = await gateway.get("/v1/quotas", bearer("guess"));
    expect(refused.body.error.code).toBe("rate_limited");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await status("g")).toBe(200);
    expect((await gateway.get("/metrics", bearer("g"))).body).toMatch(
      /refused_keys_total\{why="unknown"\} 31/,
    );
  });

  test("are counted for each address, and forgotten with time", () => {
    const failed = new FailedAttempts();
    const many = (address: string, now: number) =>
      Array.from({ length: 21 }, () => failed.note(address, now)).at(-1);
    expect(many("10.0.0.1", 0)).toBe(5);
    expect(failed.note("10.0.0.2", 0)).toBe(0);
    expect(failed.note("10.0.0.1", 4_000)).toBe(1);
    expect(failed.note("10.0.0.1", 600_000)).toBe(0);
  });

  test("take little memory, however many addresses there are", () => {
    const failed = new FailedAttempts();
    for (let index = 0; index < 50_000; index++)
      failed.note(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
    expect(failed.size).toBe(10_000);
  });

  test.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8::5", "2001:db8:0:0"],
    ["2001:0db8:0001::", "2001:db8:1:0"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["::1", "0:0:0:0"],
  ])("%s counts as %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});

describe("the last use", () => {
  test("is on the disk once, not for every request, and at the end", async () => {
    const { gateway, status } = await withKeys([
      { id: "a", key: "a" },
      { id: "b", key: "b" },
    ]);
    const file = join(gateway.home, "gateway", "keys-used.json");
    await status("a");
    await until(() => existsSync(file), "the first use is written");
    const written = readFileSync(file, "utf8");
    expect(Date.now() - Date.parse(JSON.parse(written).a)).toBeLessThan(10_000);
    for (let request = 0; request < 20; request++) await status("b");
    await sleep(700);
    expect(readFileSync(file, "utf8")).toBe(written);
    await gateway.close();
    expect(Object.keys(JSON.parse(readFileSync(file, "utf8")))).toEqual(["a", "b"]);
    expect(readFileSync(file, "utf8")).not.toContain(hashOf("a"));
  });

  test("a file that is damaged is begun anew", async () => {
    const { gateway, file } = await withKeys([{ id: "a", key: "a" }]);
    await gateway.close();
    writeFileSync(join(gateway.home, "gateway", "keys-used.json"), "{");
    const env = { DEV_MODE: "false", API_KEYS_FILE: file };
    const again = await TestGateway.start(env, gateway.home);
    expect((await again.get("/v1/quotas", bearer("a"))).status).toBe(200);
  });
});
