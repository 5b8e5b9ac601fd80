import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ImageAccess } from "../../../docker/gateway/src/backends/msb/image-access";
import { SharedRead } from "../../../docker/gateway/src/shared-read";
import { FAKE_MSB, fakeAgent, TestGateway, temporaryFolder, until } from "./harness";

/** A gateway whose msb does something of its own before, or instead of, what the fake one does. */
async function withMsb(
  body: string,
  env: Record<string, string> = {},
  home = temporaryFolder(),
): Promise<TestGateway> {
  const path = join(home, "msb");
  writeFileSync(path, `#!/bin/sh\n${body}\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(path, 0o755);
  return TestGateway.start({ MSB_PATH: path, ...env }, home);
}
const recordOf = ({ home }: TestGateway, id: string) =>
  JSON.parse(readFileSync(join(home, "gateway", "sandboxes", `${id}.json`), "utf8"));
const names = async (gateway: TestGateway, path: string): Promise<string[]> => {
  const { body } = await gateway.get(path);
  return (body.data ?? body).map(({ name }: { name: string }) => name);
};

describe("at the same time", () => {
  test("no more are started than may run", async () => {
    const gateway = await TestGateway.start({ LIMIT_SANDBOXES: "2" });
    const ids: string[] = [];
    for (const name of ["a", "b", "c", "d", "e"]) ids.push((await gateway.create(name, {}, "")).body.id);
    await sleep(1_100);
    const starts = ids.map((id) => gateway.post(`/v1/sandboxes/${id}/start?wait_for=running`));
    const statuses = (await Promise.all(starts)).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 200, 429, 429, 429]);
  });

  test("a volume that was made with msb itself is taken in once", async () => {
    const gateway = await TestGateway.start();
    const made = ["m1", "m2", "m3", "m4"];
    for (const name of made) {
      mkdirSync(join(gateway.home, "volumes", name), { recursive: true });
      writeFileSync(join(gateway.home, "fake", "volumes", name), "2024-01-01T00:00:00Z dir null\n");
    }
    await sleep(1_100);
    await Promise.all([1, 2, 3, 4, 5].map(() => gateway.get("/v1/volumes")));
    expect((await names(gateway, "/v1/volumes")).filter(Boolean).sort()).toEqual(made);
  });

  test("a volume that is removed while a create is to mount it: one of the two is refused", async () => {
    const gateway = await withMsb('[ "$1 $2" != "volume rm" ] || sleep 1');
    for (const wait of [0, 1, 2, 3, 4, 6]) {
      const name = `v${wait}`;
      const volume = (await gateway.post("/v1/volumes", { name })).body;
      const patches = [{ type: "text", path: "/x", content: "y".repeat(900_000) }];
      const mounts = [{ type: "named", name, guest: "/v" }];
      const create = gateway.create(`n${wait}`, { mounts, patches });
      await sleep(wait);
      const removed = await gateway.delete(`/v1/volumes/${volume.id}`);
      const statuses = [removed.status, (await create).status];
      expect([
        [200, 404],
        [409, 200],
      ]).toContainEqual(statuses);
    }
  });

  test("the note of a private image is on disk before any pull of it begins", async () => {
    const file = join(temporaryFolder(), "image-access.json");
    const access = await ImageAccess.open(file);
    const first = access.beforePull("private/x", undefined);
    await access.beforePull("private/x", undefined);
    expect(existsSync(file)).toBe(true);
    await first;
  });

  test("who knows of a change gets no answer that was asked for before", async () => {
    let world = "before";
    let release = () => {};
    const seen: string[] = [];
    const read = new SharedRead(async () => {
      const answer = world;
      if (seen.length === 0) await new Promise<void>((resolve) => (release = resolve));
      seen.push(answer);
    });
    const first = read.refresh(60_000);
    world = "after";
    read.invalidate();
    const second = read.refresh(60_000);
    release();
    await Promise.all([first, second]);
    await read.refresh(60_000);
    expect(seen).toEqual(["before", "after"]);
  });
});

describe("a stop of the server", () => {
  test("takes no answered removal back", async () => {
    const gateway = await withMsb("case $1 in stop) sleep 0.6 ;; rm) sleep 2 ;; esac");
    const { body } = await gateway.create("doomed");
    const drained = gateway.gateway.backend.drain(Date.now() + 5_000);
    await sleep(200);
    await gateway.gateway.backend.sandboxes.want(body.id, "removed");
    expect(recordOf(gateway, body.id).desired).toBe("removed");
    await drained;
    const noted = () => readFileSync(join(gateway.home, "gateway", "resume.json"), "utf8");
    const path = join(gateway.home, "gateway", "sandboxes", `${body.id}.json`);
    if (existsSync(path)) expect(recordOf(gateway, body.id).desired).toBe("removed");
    const { home } = gateway;
    await gateway.close();
    expect(noted()).toContain(body.id);
    const next = await TestGateway.start({}, home);
    await until(() => next.made("doomed") === undefined, "it to go");
    expect((await next.get(`/v1/sandboxes/${body.id}`)).status).toBe(404);
  });

  test("gives nobody more time, also where msb's list has a word in between", async () => {
    const gateway = await withMsb(`[ "$1" != stop ] || { ${FAKE_MSB} "$@"; sleep 0.7; exit 0; }`);
    const { body } = await gateway.create("timed", { lifecycle: { max_duration_secs: 3600 } }, "");
    const sockets: Socket[] = [];
    await fakeAgent(
      gateway.home,
      "timed",
      (socket) => void sockets.push(socket.on("error", () => undefined)),
    );
    await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running`);
    await until(() => sockets.length > 0, "the server to follow it");
    const { expiresAt } = recordOf(gateway, body.id);
    const drained = gateway.gateway.backend.drain(Date.now() + 5_000);
    await sleep(250);
    for (const socket of sockets) socket.destroy();
    await drained;
    expect(recordOf(gateway, body.id)).toMatchObject({ state: "stopped", expiresAt });
  });

  test("does not wait for removals that fail", async () => {
    const gateway = await withMsb('[ "$1" != rm ] || { echo "error: no" >&2; exit 1; }');
    await gateway.create("runs");
    const { body } = await gateway.create("stuck");
    gateway.delete(`/v1/sandboxes/${body.id}`).catch(() => undefined);
    await sleep(300);
    const began = Date.now();
    await gateway.gateway.backend.drain(Date.now() + 20_000);
    expect(Date.now() - began, "half of the time").toBeLessThan(9_000);
    expect(gateway.made("runs")?.status).toBe("Stopped");
  });

  test("notes nothing for a later time where nothing is to be resumed", async () => {
    const off = { RESUME_SANDBOXES: "false" };
    const first = await TestGateway.start(off);
    const { body } = await first.create("x");
    await first.gateway.stop();
    const second = await TestGateway.start(off, first.home);
    await second.post(`/v1/sandboxes/${body.id}/start?wait_for=running`);
    await second.post(`/v1/sandboxes/${body.id}/stop`);
    await second.gateway.stop();
    const third = await TestGateway.start({}, first.home);
    expect((await third.get(`/v1/sandboxes/${body.id}`)).body.status).toBe("stopped");
  });

  test("leaves what another server noted to the next one, while it is only tried", async () => {
    const first = await TestGateway.start();
    const { body } = await first.create("x");
    await first.gateway.stop();
    const tried = await TestGateway.start({ RESUME_SANDBOXES: "false" }, first.home);
    expect((await tried.get(`/v1/sandboxes/${body.id}`)).body.status).toBe("stopped");
    await tried.gateway.stop();
    const next = await TestGateway.start({}, first.home);
    const status = async () => (await next.get(`/v1/sandboxes/${body.id}`)).body.status;
    await until(async () => (await status()) === "running", "it runs again");
  });
});

test("what a make needs is kept until the disk knows that it was made", async () => {
  const gateway = await TestGateway.start();
  const scripts = { hello: "echo hi" };
  const { body } = await gateway.create("lost", { reference: "slow", runtime: { scripts } }, "start=false");
  const file = join(gateway.home, "gateway", "sandboxes", `${body.id}.json`);
  const path = `/v1/sandboxes/${body.id}/start?wait_for=running`;
  const started = gateway.post(path);
  await until(() => recordOf(gateway, body.id).state === "making", "the make");
  // Now the record can't be written.
  rmSync(file);
  mkdirSync(join(file, "x"), { recursive: true });
  expect((await started).status).toBe(502);
  rmSync(file, { recursive: true });
  rmSync(join(gateway.home, "fake", "scripts"));
  expect((await gateway.post(path)).body.status).toBe("running");
  expect(gateway.scripts()).toContain("echo hi");
});

test("an ephemeral one that never ran goes in time", async () => {
  const gateway = await TestGateway.start();
  const lifecycle = { ephemeral: true };
  const { body } = await gateway.create("short", { reference: "broken", lifecycle }, "start=true");
  const status = async () => (await gateway.get(`/v1/sandboxes/${body.id}`)).body.status;
  await until(async () => (await status()) === "failed", "its failure");
  await gateway.gateway.backend.sweep(Date.now() + 3_600_000);
  await until(async () => !(await names(gateway, "/v1/sandboxes")).includes("short"), "its end");
});

test("a start of one that is gone finds none, also on a full server", async () => {
  const gateway = await TestGateway.start({ LIMIT_SANDBOXES: "1" });
  const { body } = await gateway.create("e", { lifecycle: { ephemeral: true } });
  await gateway.post(`/v1/sandboxes/${body.id}/stop`);
  await until(() => gateway.made("e") === undefined, "its removal");
  await gateway.create("other");
  expect((await gateway.post(`/v1/sandboxes/${body.id}/start`)).body.error.code).toBe("sandbox_not_found");
});

test("a volume can be removed while the sandbox that mounts it is on its way out", async () => {
  const gateway = await withMsb('[ "$1" != rm ] || sleep 1');
  const volume = (await gateway.post("/v1/volumes", { name: "v" })).body;
  const { body } = await gateway.create("user", { mounts: [{ type: "named", name: "v", guest: "/v" }] });
  const removed = gateway.delete(`/v1/sandboxes/${body.id}`);
  await sleep(200);
  expect((await gateway.delete(`/v1/volumes/${volume.id}`)).status).toBe(200);
  await removed;
  gateway.gateway.backend.volumes.sweep();
  await until(() => !existsSync(join(gateway.home, "volumes", volume.id)), "its files to go");
});

describe("the disk of a sandbox that msb never noted", () => {
  const ghost = "0a0b0c0d-0000-4000-8000-000000000000";

  test("goes with the create that failed", async () => {
    const gateway = await withMsb(
      '[ "$1" != create ] || { for name; do :; done; mkdir -p "$MSB_HOME/sandboxes/$name"; echo "error: failed to create upper.ext4" >&2; exit 1; }',
    );
    expect((await gateway.create("big")).status).toBe(502);
    expect(readdirSync(join(gateway.home, "sandboxes"))).toEqual([]);
  });

  test("goes at the next start, where a crash came in between; what msb itself made stays", async () => {
    const home = temporaryFolder();
    for (const name of [ghost, "made-with-msb"])
      mkdirSync(join(home, "sandboxes", name), { recursive: true });
    await TestGateway.start({}, home);
    expect(readdirSync(join(home, "sandboxes"))).toEqual(["made-with-msb"]);
  });

  test("can't be larger than the server's own", async () => {
    const gateway = await TestGateway.start();
    const { status, body } = await gateway.create("huge", {
      resources: { vcpus: 1, memory_mib: 64, disk_size_mib: 8_388_608 },
    });
    expect([status, body.error.message]).toEqual([400, expect.stringContaining("resources.disk_size_mib")]);
  });
});
