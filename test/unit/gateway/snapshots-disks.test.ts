import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { DiskReserve } from "../../../docker/gateway/src/limits/disk-reserve";
import { restoreBody, START, TestGateway, temporaryFolder, until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const fake = (gateway: TestGateway, file: string) => join(gateway.home, "fake", file);
const textOf = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "");

describe("a sandbox that is captured often", () => {
  const capture = (gateway: TestGateway, id: string, name: string) =>
    gateway.post("/v1/snapshots", { sandbox_id: id, name, force: true });

  test("is captured by one at a time, beside stops, starts and each other", { timeout: 60_000 }, async () => {
    const gateway = await TestGateway.start();
    const { id } = (await gateway.create("box")).body;
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const [captures, stopped] = await Promise.all([
      Promise.all(names.map((name) => capture(gateway, id, name))),
      gateway.post(`/v1/sandboxes/${id}/stop`),
    ]);
    expect(captures.map(({ status }) => status)).toEqual(names.map(() => 202));
    expect(stopped.status).toBe(200);
    const started = await Promise.all([
      gateway.post(`/v1/sandboxes/${id}/start?wait_for=running`),
      capture(gateway, id, "a"),
      capture(gateway, id, "i"),
    ]);
    expect(started.map(({ status }) => status)).toEqual([200, 202, 202]);
    await Promise.all([capture(gateway, id, "j"), gateway.delete(`/v1/sandboxes/${id}`)]);
    await until(() => !existsSync(fake(gateway, `sandboxes/${id}.status`)), "it to be removed");
    expect(textOf(fake(gateway, "overlaps"))).toBe("");
  });

  test("has its disk made one file when it is stopped, and starts when that is over", {
    timeout: 90_000,
  }, async () => {
    const gateway = await TestGateway.start();
    const { backend } = gateway.gateway;
    const { id } = (await gateway.create("box")).body;
    const layers = () => textOf(join(gateway.home, "fake", "sandboxes", `${id}.layers`)).trim();
    for (let times = 0; times < 32; times++) await capture(gateway, id, "same");
    // One that fails adds a file as well.
    writeFileSync(fake(gateway, "captures"), "fail\n");
    expect((await capture(gateway, id, "same")).status).toBe(502);
    writeFileSync(fake(gateway, "captures"), "well\n");
    expect(layers()).toBe("34");
    await backend.sweep();
    expect(textOf(fake(gateway, "modifies.log"))).toBe("");
    await gateway.post(`/v1/sandboxes/${id}/stop`);
    writeFileSync(fake(gateway, "slow-modify"), "");
    const swept = backend.sweep();
    await until(() => textOf(fake(gateway, "modifies.log")) === `--compact -- ${id}\n`, "msb to be asked");
    const started = await gateway.post(`/v1/sandboxes/${id}/start?wait_for=running`);
    await swept;
    expect(started.body.status).toBe("running");
    expect(layers()).toBe("1");
    expect(textOf(fake(gateway, "overlaps"))).toBe("");
    await gateway.post(`/v1/sandboxes/${id}/stop`);
    await backend.sweep();
    expect(textOf(fake(gateway, "modifies.log")).trim().split("\n")).toHaveLength(1);
  });
});

describe("the disk", () => {
  test("so much must be free as a snapshot takes, besides the reserve", async () => {
    const path = temporaryFolder();
    const reserve = new DiskReserve({ path, reserveBytes: 1024 });
    await expect(reserve.checkFor(0)).resolves.toBeUndefined();
    await expect(reserve.checkFor(Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({ kind: "diskFull" });
    await expect(new DiskReserve({ path, reserveBytes: 0 }).checkFor(2 ** 60)).resolves.toBeUndefined();
    const asked = vi.spyOn(DiskReserve.prototype, "checkFor");
    const gateway = await TestGateway.start();
    const { id } = (await gateway.create("box")).body;
    writeFileSync(join(gateway.home, "sandboxes", id, "upper.ext4"), Buffer.alloc(300_000, 1));
    expect((await gateway.post("/v1/snapshots", { sandbox_id: id, name: "one" })).status).toBe(202);
    expect(asked.mock.lastCall?.[0]).toBeGreaterThanOrEqual(300_000);
    asked.mockRestore();
  });

  test("a key, and the server, have so many snapshots at most; a removal makes room", async () => {
    const keys = [
      { id: "ann", key: "a", limits: { snapshots: 1 } },
      { id: "bob", key: "b" },
    ];
    const { gateway } = await withKeys(keys, { LIMIT_SNAPSHOTS: "2", OWN_SANDBOXES: "true" });
    const boxes = new Map<string, string>();
    for (const key of ["a", "b"])
      boxes.set(
        key,
        (
          await gateway.request("POST", `/v1/sandboxes?${START}`, {
            ...{ body: { name: "box", reference: "starter", source: "oci" }, headers: bearer(key) },
          })
        ).body.id,
      );
    const take = (key: string, name: string) =>
      gateway.request("POST", "/v1/snapshots", {
        ...{ body: { sandbox_id: boxes.get(key), name }, headers: bearer(key) },
      });
    expect((await take("a", "one")).status).toBe(202);
    const { status, body } = await take("a", "two");
    expect([status, body.error]).toEqual([
      429,
      { code: "quota_exceeded", message: expect.stringMatching(/ann.* 1 /) },
    ]);
    expect((await gateway.get("/v1/quotas", bearer("a"))).body).toMatchObject({
      total_snapshots: 1,
      max_snapshots: 1,
    });
    expect((await gateway.get("/v1/quotas", bearer("b"))).body).toMatchObject({
      total_snapshots: 0,
      max_snapshots: 2,
    });
    expect((await take("b", "one")).status).toBe(202);
    expect((await take("b", "two")).status).toBe(429);
    await gateway.request("DELETE", "/v1/snapshots/by-name/one", { headers: bearer("a") });
    expect((await take("b", "two")).status).toBe(202);
  });
});

describe("the built-in image", () => {
  /** An archive with a digest of its own. */
  const archive = (digit: string) => {
    const path = join(temporaryFolder(), "starter.tar");
    writeFileSync(`${path}.digest`, `sha256:${digit.repeat(64)}\n`);
    return path;
  };
  const start = (path: string, home?: string) => TestGateway.start({ STARTER_ARCHIVE: path }, home);
  const loaded = ({ home }: TestGateway) => readdirSync(join(home, "fake", "loaded")).sort();

  test("a snapshot of the one of before can be restored when another has its name", async () => {
    const first = await start(archive("a"));
    const { id } = (await first.create("box")).body;
    expect((await first.post("/v1/snapshots", { sandbox_id: id, name: "old" })).status).toBe(202);
    await first.close();
    const second = await start(archive("b"), first.home);
    expect(loaded(second)).toEqual(["starter", `starter:${"a".repeat(64)}`, `starter:${"b".repeat(64)}`]);
    const restore = (name: string) => second.post(`/v1/sandboxes?${START}`, restoreBody(name, "old"));
    expect((await restore("again")).body.status).toBe("running");
    // Neither of its versions is pruned.
    const { images } = second.gateway.backend;
    const { removed } = await images.prune({ olderThanSeconds: 0 });
    expect(removed).toEqual([]);
    // As it would be without a name of its own.
    rmSync(join(second.home, "fake", "loaded", `starter:${"a".repeat(64)}`));
    const { status, body } = await restore("lost");
    expect([status, body.error]).toEqual([
      409,
      { code: "invalid_state_transition", message: expect.stringContaining("image") },
    ]);
    expect((await second.get("/v1/sandboxes/by-name/lost")).status).toBe(404);
  });

  test("is loaded once for each archive, and by a server that lacks its second name", async () => {
    const path = archive("c");
    const first = await start(path);
    await first.close();
    const marks = join(first.home, "fake", "loaded");
    rmSync(join(marks, "starter"));
    await (await start(path, first.home)).close();
    expect(readdirSync(marks)).toEqual([`starter:${"c".repeat(64)}`]);
    rmSync(join(marks, `starter:${"c".repeat(64)}`));
    await (await start(path, first.home)).close();
    expect(readdirSync(marks).sort()).toEqual(["starter", `starter:${"c".repeat(64)}`]);
  });
});
