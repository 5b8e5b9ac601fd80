import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import WebSocket from "ws";
import type { Seen } from "../../../docker/gateway/src/backends/msb/reconciler";
import { StatusCache } from "../../../docker/gateway/src/backends/msb/status-cache";
import { FAKE_MSB, fakeAgent, handleOf, TestGateway, temporaryFolder, until } from "./harness";

/** Each msb process costs half a second on a slow host: what the gateway asks of msb, and when. */
let gateway: TestGateway;
/** Subcommands of the msb processes since the last call. */
let calls: () => string[];

beforeEach(async () => {
  const home = temporaryFolder();
  const counting = join(home, "msb");
  writeFileSync(counting, `#!/bin/sh\necho "$1" >>"$MSB_HOME/calls"\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(counting, 0o755);
  gateway = await TestGateway.start({ MSB_PATH: counting, KVM_DEVICE: "/dev/null" }, home);
  let seen = 0;
  calls = () => {
    const all = readFileSync(join(home, "calls"), "utf8").trim().split("\n");
    const fresh = all.slice(seen);
    seen = all.length;
    return fresh;
  };
  // What the start asks.
  calls();
});

/** What a client does to run a command: create, look up by name, connect. */
async function run(name: string, change?: Record<string, unknown>): Promise<void> {
  const { body } = await gateway.create(name, change);
  await fakeAgent(gateway.home, name, (socket) => socket.pipe(socket));
  expect((await gateway.get(`/v1/sandboxes/by-name/${name}`)).body.spec.runtime.workdir).toBe("/image");
  const url = `${gateway.url.replace("http", "ws")}/v1/sandboxes/${body.id}/agent`;
  const client = new WebSocket(url, { headers: { authorization: "Bearer x" } });
  await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
  client.terminate();
}

/** A sandbox that was made with msb itself, an hour ago unless told otherwise. */
function makeStray(name: string, created = new Date(Date.now() - 3_600_000).toISOString()): void {
  const fake = join(gateway.home, "fake", "sandboxes");
  mkdirSync(fake, { recursive: true });
  for (const [kind, text] of [
    ["conf", '{"image":{"oci":"starter"},"cpus":1,"memory":"64M"}'],
    ["created", created],
    ["status", "Running"],
  ])
    writeFileSync(join(fake, `${name}.${kind}`), `${text}\n`);
}

/** How a sandbox stands that msb calls so. */
const made = (handle: string) =>
  readFileSync(join(gateway.home, "fake", "sandboxes", `${handle}.status`), "utf8").trim();

test.each([
  "runtime error: runtime version probe timed out",
  "Sandbox::start is not supported by this backend: selected msb runtime does not support network.http.deny_response; " +
    "upgrade msb in the configured home or select a newer runtime explicitly",
])("a boot that msb gave up on a busy host is tried three times in all: %s", async (sentence) => {
  const home = temporaryFolder();
  const busy = join(home, "msb");
  const said = `error: ${sentence}`;
  writeFileSync(
    busy,
    `#!/bin/sh
case $1 in create | start)
  read -r failures <"$MSB_HOME/failures"
  echo $((failures - 1)) >"$MSB_HOME/failures"
  # By then msb has made the sandbox's folder, and no row: \`msb rm\` does not find it.
  if [ "$failures" -gt 0 ]; then
    for name in "$@"; do :; done
    mkdir -p "$MSB_HOME/sandboxes/$name"
    echo "${said}" >&2
    exit 1
  fi ;;
esac
exec ${FAKE_MSB} "$@"
`,
  );
  chmodSync(busy, 0o755);
  gateway = await TestGateway.start({ MSB_PATH: busy }, home);
  const failing = (times: number) => writeFileSync(join(home, "failures"), `${times}\n`);
  failing(2);
  const { status, body } = await gateway.create("patient");
  expect([status, body.status]).toEqual([200, "running"]);
  const start = () => gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running&wait_timeout=90`);
  await gateway.post(`/v1/sandboxes/${body.id}/stop`);
  failing(3);
  expect((await start()).status).toBe(502);
  expect(readFileSync(join(home, "failures"), "utf8")).toBe("0\n");
  failing(2);
  expect((await start()).body.status).toBe("running");
});

test("one made with msb a moment before the server's stop is stopped cleanly, and runs again afterwards", async () => {
  const first = await TestGateway.start();
  gateway = first;
  await first.get("/v1/sandboxes");
  makeStray("late");
  await first.gateway.stop();
  expect(made("late")).toBe("Stopped");
  gateway = await TestGateway.start({}, first.home);
  await until(() => made("late") === "Running", "it runs again");
});

describe("msb processes", () => {
  test("from create to first output there are two: the boot, and what became of the request", async () => {
    await run("first");
    // What is cached was asked at the start.
    expect(calls().filter((call) => call !== "--version" && call !== "image")).toEqual(["create", "inspect"]);
    await run("second");
    expect(calls()).toEqual(["create", "inspect"]);
    await run("third", { reference: "other" });
    // What is cached is asked before the pull, unless that was just asked, and after it.
    expect(calls().filter((call) => call !== "image")).toEqual(["pull", "create", "inspect"]);
    await run("fourth", { reference: "other" });
    expect(calls()).toEqual(["create", "inspect"]);
  });

  test("tombstones that wait for their end need none", async () => {
    const { body } = await gateway.create("ends", { lifecycle: { ephemeral: true } });
    await gateway.post(`/v1/sandboxes/${body.id}/stop`);
    await until(() => gateway.made("ends") === undefined, "its removal");
    await sleep(1_100);
    calls();
    await gateway.gateway.backend.sweep();
    await gateway.gateway.backend.sweep(Date.now() + 3_600_000);
    expect(calls()).toEqual([]);
    expect((await gateway.get(`/v1/sandboxes/${body.id}`)).status).toBe(404);
  });

  test("readiness and lists share one", async () => {
    expect((await gateway.get("/readyz")).status).toBe(200);
    calls();
    expect((await gateway.get("/v1/sandboxes")).status).toBe(200);
    expect(calls()).toEqual([]);
  });
});

describe("sandboxes that msb has and the gateway does not know", () => {
  test("stay, under a name of their own, where a client takes theirs", async () => {
    makeStray("stray");
    const { status, body } = await gateway.create("stray");
    expect(status).toBe(200);
    expect(made("stray")).toBe("Running");
    const strays = async () =>
      (await gateway.get("/v1/sandboxes")).body.data.filter(({ name }: { name: string }) =>
        name.startsWith("stray."),
      );
    await until(async () => (await strays()).length === 1, "it to be taken in");
    await gateway.delete(`/v1/sandboxes/${body.id}`);
    expect(made("stray")).toBe("Running");
  });

  test("stay where a create of their name fails", async () => {
    makeStray("older");
    const { status } = await gateway.create("older", { reference: "refused-image" });
    expect(status).toBe(400);
    expect(made("older")).toBe("Running");
  });

  test("stay where the client of the failed create went away", async () => {
    makeStray("left");
    const gone = new AbortController();
    const answer = gateway
      .request("POST", "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90", {
        body: { name: "left", source: "oci", reference: "refused-image" },
        signal: gone.signal,
      })
      .catch(() => undefined);
    setTimeout(() => gone.abort(), 5);
    await answer;
    await sleep(500);
    expect(made("left")).toBe("Running");
  });

  test("make room when they end: msb is asked before a start is refused", async () => {
    await gateway.close();
    gateway = await TestGateway.start({ LIMIT_SANDBOXES: "1" });
    await gateway.create("ended");
    writeFileSync(
      join(gateway.home, "fake", "sandboxes", `${handleOf(gateway.home, "ended")}.status`),
      "Stopped\n",
    );
    expect((await gateway.create("next")).status).toBe(200);
    expect((await gateway.create("third")).body.error.code).toBe("quota_exceeded");
  });
});

describe("what msb says of all sandboxes", () => {
  const row = (name: string): Seen => ({ name, observed: "running", createdAt: "x" });

  test("is asked again by who can't do with an answer that was on its way", async () => {
    let made = false;
    let reads = 0;
    const lists: string[][] = [];
    const view = new StatusCache(
      async () => {
        reads++;
        const rows = made ? [row("made")] : [];
        await sleep(20);
        return rows;
      },
      (rows) => lists.push(rows.map(({ name }) => name)),
    );
    const early = view.refresh(0);
    await sleep(5);
    made = true;
    await view.refresh(0);
    await early;
    expect(lists).toEqual([[], ["made"]]);
    const [first, second] = [view.refresh(0), view.refresh(60_000)];
    await Promise.all([first, second, sleep(2).then(() => Promise.all([view.refresh(0), view.refresh(0)]))]);
    expect(reads, "those who wait share one").toBe(4);
  });

  test("is asked for seldom where the answer takes long", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    onTestFinished(() => void vi.useRealTimers());
    let reads = 0;
    const view = new StatusCache(
      async () => {
        reads++;
        vi.advanceTimersByTime(500);
        return [];
      },
      () => undefined,
    );
    await view.refresh();
    vi.advanceTimersByTime(1_400);
    await view.refresh();
    expect(reads).toBe(1);
    vi.advanceTimersByTime(200);
    await view.refresh();
    expect(reads).toBe(2);
  });
});
