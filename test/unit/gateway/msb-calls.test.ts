import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { RecentlyResolved } from "../../../docker/gateway/src/recently-resolved";
import type { SandboxRecord } from "../../../docker/gateway/src/sandbox-record";
import { type SandboxSpec, sandboxSpec } from "../../../docker/gateway/src/schema/sandbox";
import { FAKE_MSB, fakeAgent, newBody, TestGateway, temporaryFolder, until } from "./harness";

/** Each msb process costs half a second on a slow host: what the way to a first output asks of msb. */
let gateway: TestGateway;
let calls: () => string[];

beforeEach(async () => {
  const home = temporaryFolder();
  const counting = join(home, "msb");
  writeFileSync(counting, `#!/bin/sh\necho "$1" >>"$MSB_HOME/calls"\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(counting, 0o755);
  gateway = await TestGateway.start({ MSB_PATH: counting }, home);
  const read = () => readFileSync(join(home, "calls"), "utf8").trim().split("\n");
  let seen = 0;
  calls = () => {
    const all = read();
    const fresh = all.slice(seen);
    seen = all.length;
    return fresh;
  };
});

/** What a client does to run a command: create, look up by name, connect. */
async function run(name: string): Promise<void> {
  const { body } = await gateway.create(name);
  await fakeAgent(gateway.home, name, (socket) => socket.pipe(socket));
  expect((await gateway.get(`/v1/sandboxes/by-name/${name}`)).body.spec.runtime.workdir).toBe("/image");
  const url = `${gateway.url.replace("http", "ws")}/v1/sandboxes/${body.id}/agent`;
  const client = new WebSocket(url, { headers: { authorization: "Bearer x" } });
  await new Promise((resolve, reject) => client.once("open", resolve).once("error", reject));
  client.terminate();
}

const resolution = { reference: "starter", vcpus: 1, memoryMib: 64, workdir: "/image", labels: {} };
const sandbox = (spec: SandboxSpec, startedAt: string | null): SandboxRecord => ({
  ...{ id: "1", name: "x", slug: "x", owner: null, phase: "known", answered: true, ephemeral: false },
  ...{ spec, resolved: null, createdAt: "2026-01-01T00:00:00Z", startedAt, stoppedAt: null },
  ...{ expiresAt: null, keepUntil: null, lastFailure: null },
});

describe("msb processes", () => {
  test("the first sandbox of an image is inspected once, the next ones not at all for now", async () => {
    await run("first");
    expect(calls().filter((call) => call !== "--version")).toEqual(["create", "inspect"]);
    await run("second");
    expect(calls()).toEqual(["create"]);
  });

  test("an image that is pulled each time is inspected each time", async () => {
    for (const name of ["one", "two"]) {
      const { body } = await gateway.create(name, { pull_policy: "always" });
      await gateway.get(`/v1/sandboxes/${body.id}`);
    }
    expect(calls().filter((call) => call === "inspect")).toHaveLength(2);
  });

  test("only a young sandbox is taken for one like it, and only for some minutes", () => {
    const recently = new RecentlyResolved();
    const spec = sandboxSpec.parse(newBody("x"));
    const at = (time: number) => sandbox(spec, new Date(time).toISOString());
    const minute = 60_000;
    recently.remember(at(0), resolution, 0);
    expect(recently.of(at(minute), minute)).toBe(resolution);
    expect(recently.of(at(0), minute), "an old one").toBeUndefined();
    expect(recently.of(at(11 * minute), 11 * minute), "after long").toBeUndefined();
    const other = sandbox({ ...spec, reference: "other" }, at(minute).startedAt);
    expect(recently.of(other, minute), "another image").toBeUndefined();
    const elsewhere = sandbox({ ...spec, runtime: { ...spec.runtime, user: "me" } }, at(minute).startedAt);
    expect(recently.of(elsewhere, minute), "another user").toBeUndefined();
  });

  test("a name that only msb knows is refused, and what bears it stays", async () => {
    const fake = join(gateway.home, "fake", "sandboxes");
    mkdirSync(fake, { recursive: true });
    for (const [kind, text] of [
      ["conf", '{"image":{"oci":"starter"},"cpus":1,"memory":"64M"}'],
      ["created", "2026-01-01T00:00:00Z"],
      ["status", "Running"],
    ])
      writeFileSync(join(fake, `stray.${kind}`), `${text}\n`);
    const { status, body } = await gateway.create("stray");
    expect([status, body.error.code]).toEqual([409, "name_already_exists"]);
    expect(gateway.made("stray")?.status).toBe("Running");
    await until(
      async () => (await gateway.get("/v1/sandboxes/by-name/stray")).status === 200,
      "it to be taken in",
    );
  });

  test("lists go on while sandboxes come and go all the time", async () => {
    let going = true;
    const churn = (async () => {
      for (let number = 0; going; number++) {
        const { body } = await gateway.create(`churn-${number}`);
        await gateway.delete(`/v1/sandboxes/${body.id}`);
      }
    })();
    await sleep(1100);
    const began = performance.now();
    expect((await gateway.get("/v1/sandboxes")).status).toBe(200);
    expect(performance.now() - began).toBeLessThan(1000);
    going = false;
    await churn;
  });
});
