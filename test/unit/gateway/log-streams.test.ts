import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const OF_A_KEY = 128;
const OF_A_SANDBOX = 8;

test("log streams that nobody reads end by themselves, and one key has half of the places at most", {
  timeout: 500_000,
}, async () => {
  const keys = ["a", "b"].map((key) => ({ id: key, key }));
  const { gateway, create } = await withKeys(keys, { TRANSFER_IDLE_SECONDS: "8" });
  // More than the system keeps for a connection.
  const line = { t: new Date().toISOString(), s: "stdout", d: "a".repeat(64 * 1024) };
  const paths: string[] = [];
  for (let index = 0; index < OF_A_KEY / OF_A_SANDBOX + 1; index++) {
    const { body } = await create("a", `chatty${index}`, { resources: { vcpus: 1, memory_mib: 64 } });
    const file = join(gateway.home, "sandboxes", body.id, "logs", "exec.log");
    writeFileSync(file, `${JSON.stringify(line)}\n`.repeat(160));
    paths.push(`/v1/sandboxes/${body.id}/logs`);
  }
  const path = paths.pop() ?? "";
  const readers = Array.from({ length: OF_A_KEY }, (_, index) => {
    const own = paths[index % paths.length];
    const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1").on("error", () => undefined);
    socket.write(`GET ${own} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer a\r\n\r\n`);
    return socket.pause();
  });
  const status = async (key: string) => {
    const { status: answered, body: stream } = await fetch(`${gateway.url}${path}`, { headers: bearer(key) });
    await stream?.cancel();
    return answered;
  };
  await until(async () => (await status("a")) === 429, "all places of the key are taken", 60_000);
  expect(await status("b")).toBe(200);
  await until(async () => (await status("a")) === 200, "those that read nothing are ended", 300_000);
  for (const reader of readers) reader.destroy();
});

test("streams of one log are few, and one key's leave every second piece to another's", async () => {
  const keys = ["a", "b"].map((key) => ({ id: key, key }));
  const { gateway, create } = await withKeys(keys, { OWN_SANDBOXES: "true" });
  const line = `${JSON.stringify({ t: new Date().toISOString(), s: "stdout", d: "short" })}\n`;
  const lines = 40_000;
  const logOf = async (key: string) => {
    const { body } = await create(key, "chatty");
    writeFileSync(join(gateway.home, "sandboxes", body.id, "logs", "exec.log"), line.repeat(lines));
    await gateway.request("POST", `/v1/sandboxes/${body.id}/stop`, { headers: bearer(key) });
    return `${gateway.url}/v1/sandboxes/${body.id}/logs`;
  };
  const [mine, others] = [await logOf("a"), await logOf("b")];
  const open = (path: string, key: string) => fetch(path, { headers: bearer(key) });
  const read = { a: 0, b: 0 };
  const whole = async (stream: Response, key: "a" | "b") => {
    for await (const piece of stream.body ?? []) read[key] += piece.length;
  };
  const streams = await Promise.all(Array.from({ length: OF_A_SANDBOX }, () => open(mine, "a")));
  expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200));
  expect((await open(mine, "a")).status).toBe(429);
  const all = streams.map((stream) => whole(stream, "a"));
  const begun = read.a;
  await whole(await open(others, "b"), "b");
  expect((read.a - begun) / read.b).toBeLessThan(OF_A_SANDBOX / 2);
  await Promise.all(all);
  expect(read.a).toBe(OF_A_SANDBOX * read.b);
}, 60_000);
