import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import WebSocket from "ws";
import type { Listed } from "../../../docker/gateway/src/backends/msb/sandbox-commands";
import { MsbView } from "../../../docker/gateway/src/backends/msb/status-cache";
import { FAKE_MSB, fakeAgent, TestGateway, temporaryFolder, until } from "./harness";

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

test("a boot that msb gave up on a busy host is tried once more", async () => {
  const home = temporaryFolder();
  const busy = join(home, "msb");
  const said = "error: runtime error: runtime version probe timed out";
  writeFileSync(
    busy,
    `#!/bin/sh
case $1 in create | start)
  [ -e "$MSB_HOME/asked-$1" ] || { : >"$MSB_HOME/asked-$1"; echo "${said}" >&2; exit 1; } ;;
esac
exec ${FAKE_MSB} "$@"
`,
  );
  chmodSync(busy, 0o755);
  gateway = await TestGateway.start({ MSB_PATH: busy }, home);
  const { status, body } = await gateway.create("patient");
  expect([status, body.status]).toEqual([200, "running"]);
  await gateway.post(`/v1/sandboxes/${body.id}/stop`);
  const again = await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running&wait_timeout=90`);
  expect([again.status, again.body.status]).toEqual([200, "running"]);
});

describe("msb processes", () => {
  test("from create to first output there are two: the boot, and what became of the request", async () => {
    await run("first");
    // What is cached was asked at the start.
    expect(calls().filter((call) => call !== "--version" && call !== "image")).toEqual(["create", "inspect"]);
    await run("second");
    expect(calls()).toEqual(["create", "inspect"]);
    await run("third", { reference: "other" });
    expect(calls()).toEqual(["image", "pull", "image", "create", "inspect"]);
    await run("fourth", { reference: "other" });
    expect(calls()).toEqual(["create", "inspect"]);
  });

  test("tombstones that wait for their end need none", async () => {
    const { body } = await gateway.create("ends", { lifecycle: { ephemeral: true } });
    await gateway.post(`/v1/sandboxes/${body.id}/stop`);
    await until(() => gateway.made("ends") === undefined, "its removal");
    await sleep(1_100);
    calls();
    await gateway.gateway.sweeper.sweep();
    await gateway.gateway.sweeper.sweep(Date.now() + 3_600_000);
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
  test("keep their name, and what bears it stays", async () => {
    makeStray("stray");
    const { status, body } = await gateway.create("stray");
    expect([status, body.error.code]).toEqual([409, "name_already_exists"]);
    expect(gateway.made("stray")?.status).toBe("Running");
    await until(
      async () => (await gateway.get("/v1/sandboxes/by-name/stray")).status === 200,
      "it to be taken in",
    );
  });

  test("stay where a create of their name fails for another reason", async () => {
    makeStray("older");
    // The image is brought before msb looks at the name.
    const { status } = await gateway.create("older", { reference: "refused-image" });
    expect(status).toBe(400);
    expect(gateway.made("older")?.status).toBe("Running");
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
    expect(gateway.made("left")?.status).toBe("Running");
  });

  test("make room when they end: msb is asked before a start is refused", async () => {
    await gateway.close();
    gateway = await TestGateway.start({ LIMIT_SANDBOXES: "1" });
    await gateway.create("ended");
    writeFileSync(join(gateway.home, "fake", "sandboxes", "ended.status"), "Stopped\n");
    expect((await gateway.create("next")).status).toBe(200);
    expect((await gateway.create("third")).body.error.code).toBe("quota_exceeded");
  });
});

describe("what msb says of all sandboxes", () => {
  const row = (name: string): Listed => ({ name, status: "running", createdAt: "x", reference: "" });

  test("is read once, however often sandboxes change meanwhile", async () => {
    let reads = 0;
    const view = new MsbView({
      list: async () => {
        reads++;
        for (let change = 0; change < 20; change++) {
          view.note(`new-${change}`, "running");
          await sleep(1);
        }
        view.forget("removed");
        return [row("old"), row("removed")];
      },
    });
    view.note("removed", "running");
    await sleep(5);
    const rows = await view.get(0);
    expect(reads).toBe(1);
    expect([...rows.keys()].sort()).toEqual(
      ["old", ...Array.from({ length: 20 }, (_each, at) => `new-${at}`)].sort(),
    );
    expect((await view.get(0)).has("new-0"), "msb's next word counts again").toBe(true);
  });

  test("is asked again by who can't do with an answer that was on its way", async () => {
    let made = false;
    let reads = 0;
    const view = new MsbView({
      list: async () => {
        reads++;
        const rows = made ? [row("made")] : [];
        await sleep(20);
        return rows;
      },
    });
    const early = view.get(0);
    await sleep(5);
    made = true;
    expect([...(await view.get(0)).keys()]).toEqual(["made"]);
    expect((await early).size).toBe(0);
    const [first, second] = [view.get(0), view.get(60_000)];
    await Promise.all([first, second, sleep(2).then(() => Promise.all([view.get(0), view.get(0)]))]);
    expect(reads, "those who wait share one").toBe(4);
  });

  test("is asked for seldom where the answer takes long", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    onTestFinished(() => void vi.useRealTimers());
    let reads = 0;
    const view = new MsbView({
      list: async () => {
        reads++;
        vi.advanceTimersByTime(500);
        return [];
      },
    });
    await view.get();
    vi.advanceTimersByTime(1_400);
    await view.get();
    expect(reads).toBe(1);
    vi.advanceTimersByTime(200);
    await view.get();
    expect(reads).toBe(2);
  });
});
