import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createGateway } from "../../../docker/gateway/src/app";
import { readConfig } from "../../../docker/gateway/src/config";
import { atFileEnd } from "../../harness/file-end";
import { writeKeyFile } from "../../harness/key-file";
import { FAKE_MSB, newBody, START, temporaryFolder, until } from "./harness";
import { forEach, rawStatus } from "./spellings";
import { bearer } from "./with-keys";

/** Bytes of a line at most. */
const MOST_BYTES = 16 * 1024;
/** Lines that one key gets of a kind: some at once, and more for the seconds that a test takes. */
function linesFrom(burst: number, perSecond: number): () => number {
  const began = performance.now();
  return () => burst + ((performance.now() - began) / 1000) * perSecond + 1;
}

/** What a create gets whose sandbox does not boot. */
const BOOT_FAILED = 502;

/** A gateway whose log is kept. */
async function started() {
  const lines: string[] = [];
  const [home, keys] = [temporaryFolder(), join(temporaryFolder(), "keys")];
  writeKeyFile(
    keys,
    ["ann", "bob"].map((id) => ({ id, key: id })),
  );
  const config = readConfig({
    ...{ MSB_PATH: FAKE_MSB, MSB_HOME: home, WORKSPACE: home, STARTER_ARCHIVE: "" },
    ...{ API_KEYS_FILE: keys, LIMIT_REQUESTS_PER_SECOND: "100000" },
  });
  const gateway = await createGateway(config, { logTo: { write: (line) => lines.push(line) } });
  atFileEnd(() => gateway.app.close());
  const url = await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  await gateway.backend.resume();
  const ask = async (key: string, method: string, path: string, body?: unknown) => {
    const headers = { ...bearer(key), ...(body !== undefined && { "content-type": "application/json" }) };
    const answer = await fetch(`${url}${path}`, { method, headers, body: JSON.stringify(body) });
    await answer.arrayBuffer();
    return answer.status;
  };
  const requests = () =>
    lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "request") as Record<string, unknown>[];
  return { gateway, home, lines, requests, ask, url };
}

const long = fc.oneof(
  fc.string({ unit: "binary", minLength: 300, maxLength: 20_000 }),
  // What takes most as JSON, and as UTF-8.
  fc.constantFrom("\u0001", "\u20ac", "\u{1f600}", '"', "n").map((unit) => unit.repeat(20_000)),
);
/** Requests with long text that come to nothing. */
const refusals = fc.oneof(
  long.map((text) => ({ method: "POST", path: "/v1/sandboxes", body: newBody(text) })),
  long.map((text) => ({ method: "POST", path: "/v1/sandboxes", body: newBody("a", { reference: text }) })),
  long.map((text) => ({ method: "POST", path: "/v1/volumes", body: { name: text } })),
  long.map((text) => ({ method: "POST", path: "/v1/snapshots", body: { name: text, sandbox_id: text } })),
  long.map((text) => ({
    ...{ method: "DELETE", path: `/v1/sandboxes/${encodeURIComponent([...text].slice(0, 200).join(""))}` },
    body: undefined,
  })),
);

test("refused requests of one key fill no log, whatever is in them; another key's lines are there", async () => {
  const { gateway, lines, requests, ask } = await started();
  const [ann, bob] = ["ann", "bob"];
  const most = linesFrom(100, 1);
  const plans = fc.array(refusals, { minLength: 100, maxLength: 100 });
  let asked = 0;
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      await forEach(plan, 8, async ({ method, path, body }) => {
        expect(await ask(ann, method, path, body)).toBeGreaterThanOrEqual(400);
        asked++;
      });
    }),
    { numRuns: 6, endOnFailure: true },
  );
  expect(await ask(bob, "POST", "/v1/volumes", { name: "" })).toBe(400);
  expect(await ask(bob, "POST", "/v1/volumes", { name: "data" })).toBe(200);
  expect(await ask(ann, "POST", "/v1/volumes", { name: "hers" })).toBe(200);
  for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThan(MOST_BYTES);
  await gateway.app.close();
  const refused = requests().filter(({ key, status }) => key === ann && Number(status) >= 400);
  expect(refused.length).toBeGreaterThanOrEqual(100);
  expect(refused.length).toBeLessThanOrEqual(most());
  const told = lines.map((line) => JSON.parse(line)).filter(({ leftOut, key }) => leftOut && key === ann);
  expect(told.reduce((sum, { leftOut }) => sum + leftOut, 0)).toBe(asked - refused.length);
  // What was done is there, and so is what another key was refused.
  const shown = requests().filter(
    ({ route, status, key }) => route === "/v1/volumes" && (key === bob || status === 200),
  );
  expect(shown.map(({ key, status }) => [key, status])).toEqual([
    [bob, 400],
    [bob, 200],
    [ann, 200],
  ]);
}, 60_000);

test("nor do requests that change nothing", async () => {
  const { gateway, requests, url, ask } = await started();
  const most = linesFrom(1_000, 10);
  const targets = Array.from({ length: 1_500 }, (_, index) => `/v1/sandboxes?limit=${index + 1}`);
  await forEach(targets, 16, async (target) => {
    expect(await rawStatus(url, { method: "GET", target, headers: bearer("ann") })).toBe(200);
  });
  expect(await ask("bob", "GET", "/v1/quotas")).toBe(200);
  await gateway.app.close();
  const of = (who: string) => requests().filter(({ key }) => key === who).length;
  expect(of("ann")).toBeGreaterThanOrEqual(1_000);
  expect(of("ann")).toBeLessThanOrEqual(most());
  expect(of("bob")).toBe(1);
}, 60_000);

test("nor do those that might change something, and do not", async () => {
  const { gateway, requests, ask } = await started();
  const most = linesFrom(2_000, 20);
  expect(await ask("ann", "POST", "/v1/sandboxes", newBody("box"))).toBe(200);
  let asked = 0;
  const lane = async () => {
    while (asked < most() + 50) {
      asked++;
      expect(await ask("ann", "POST", "/v1/sandboxes/by-name/box/stop")).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  expect(await ask("bob", "POST", "/v1/volumes", { name: "data" })).toBe(200);
  await gateway.app.close();
  const of = (who: string) => requests().filter(({ key }) => key === who).length;
  expect(of("ann")).toBeGreaterThanOrEqual(2_000);
  expect(of("ann")).toBeLessThanOrEqual(Math.min(asked, most()));
  expect(of("bob")).toBe(1);
}, 90_000);

test("nor do those that their client leaves", async () => {
  const { gateway, requests, url } = await started();
  const [body, count] = [JSON.stringify({ name: "n".repeat(300) }), 300];
  const most = linesFrom(100, 1);
  const head = `POST /v1/volumes HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ann\r\n`;
  await forEach(
    Array.from({ length: count }, (_, index) => index % body.length),
    16,
    async (sent) => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => undefined);
      const type = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
      await new Promise<void>((resolve) => socket.write(head + type + body.slice(0, sent), () => resolve()));
      await sleep(20);
      socket.destroy();
    },
  );
  const aborted = () => requests().filter(({ end }) => end === "aborted").length;
  await until(() => aborted() >= 100, "the first lines");
  await gateway.app.close();
  expect(aborted()).toBeLessThanOrEqual(most());
}, 60_000);

test("nor do sandboxes that fail to start, again and again", async () => {
  const { gateway, home, lines, ask } = await started();
  writeFileSync(join(home, "fake", "boots"), "fail\n");
  // On a slow machine it takes more failures until some are left out.
  const most = linesFrom(100, 0.5);
  let [asked, failed] = [0, 0];
  const lane = async () => {
    // A server that has no time for a create does not try to boot anything.
    while (failed < most() + 20) {
      const status = await ask("ann", "POST", `/v1/sandboxes?${START}`, newBody(`box-${asked++}`));
      if (status === BOOT_FAILED) failed++;
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  await gateway.app.close();
  const all = lines.map((line) => JSON.parse(line));
  const failures = all.filter(({ msg }) => msg === "an action failed").length;
  const [left] = all.filter(({ msg }) => msg.startsWith("actions that failed"));
  expect(failures).toBeGreaterThanOrEqual(100);
  expect(failures).toBeLessThanOrEqual(most());
  expect(left).toMatchObject({ key: "ann", leftOut: expect.any(Number) });
}, 90_000);
