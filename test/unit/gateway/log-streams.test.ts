import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const OF_A_KEY = 128;

test("log streams that nobody reads end by themselves, and one key has half of the places at most", {
  timeout: 150_000,
}, async () => {
  const keys = ["a", "b"].map((key) => ({ id: key, key }));
  const { gateway, create } = await withKeys(keys, { TRANSFER_IDLE_SECONDS: "8" });
  const { body } = await create("a", "chatty");
  const path = `/v1/sandboxes/${body.id}/logs`;
  // More than the system keeps for a connection.
  const line = { t: new Date().toISOString(), s: "stdout", d: "a".repeat(64 * 1024) };
  writeFileSync(
    join(gateway.home, "sandboxes", body.id, "logs", "exec.log"),
    `${JSON.stringify(line)}\n`.repeat(160),
  );
  const readers = Array.from({ length: OF_A_KEY }, () => {
    const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1").on("error", () => undefined);
    socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer a\r\n\r\n`);
    return socket.pause();
  });
  const status = async (key: string) => {
    const { status: answered, body: stream } = await fetch(`${gateway.url}${path}`, { headers: bearer(key) });
    await stream?.cancel();
    return answered;
  };
  await until(async () => (await status("a")) === 429, "all places of the key are taken", 60_000);
  expect(await status("b")).toBe(200);
  await until(async () => (await status("a")) === 200, "those that read nothing are ended", 60_000);
  for (const reader of readers) reader.destroy();
});
