import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { restoreBody, START, TestGateway, until } from "./harness";
import { standIn } from "./second-digest";

let gateway: TestGateway;
let box: { id: string; name: string };

const snap = (name: string, change: object = {}) =>
  gateway.post("/v1/snapshots", { kind: "disk", sandbox_id: box.id, name, ...change });

const restore = (name: string, id: string, change: object = {}) =>
  gateway.post(`/v1/sandboxes?${START}`, restoreBody(name, id, change));

const groups = () => {
  const folder = join(gateway.home, "snapshots");
  return existsSync(folder) ? readdirSync(folder).sort() : [];
};

describe("disk snapshots", () => {
  beforeAll(async () => {
    gateway = await TestGateway.start();
    box = (await gateway.create("source")).body;
  });

  test("one is made of a sandbox that runs, with a digest that a client finds too", async () => {
    const labels = { "9": "nine", "10": "ten", é: 'quote " and \\', "\u2028": "😀" };
    const { status, body } = await snap("first", { labels });
    expect(status).toBe(202);
    expect(body).toMatchObject({ kind: "disk", status: "succeeded", error: null });
    const { result } = body;
    expect(result).toMatchObject({ kind: "disk", name: "first", sandbox_id: box.id, labels });
    expect(result.location).toEqual({ type: "managed", id: body.id });
    expect(result.manifest).toMatchObject({
      labels,
      source_sandbox: "source",
      image: { ref: "docker.io/library/starter" },
      state: { kind: "file", format: "qcow2", upper: { file: "upper.qcow2", integrity: null } },
    });
    expect(result.created_at).toBe(result.manifest.created_at);
    expect(result.digest).toBe(standIn(result.manifest));
    expect(result.size_bytes).toBeGreaterThan(0);
    expect((await gateway.get(`/v1/snapshot-operations/${body.id}`)).body).toEqual(body);
    const short = `snap_${result.digest.slice(7, 39)}`;
    for (const path of [body.id, ...["first", result.digest, short].map((name) => `by-name/${name}`)])
      expect((await gateway.get(`/v1/snapshots/${path}`)).body).toEqual(result);
    expect((await gateway.get("/v1/snapshots?limit=100")).body).toEqual({
      data: [result],
      next_cursor: null,
    });
    // Nothing of the client's gets into what msb is asked for.
    expect(readFileSync(join(gateway.home, "fake", "captures.log"), "utf8")).toBe(
      `create s --sandbox ${box.id} --group s-${body.id}\n`,
    );
  });

  test("a sandbox starts from it by its id, its name or its digest, and is answered as one of an image", async () => {
    const { id, digest } = await gateway
      .get("/v1/snapshots/by-name/first")
      .then(({ body }) => ({ id: body.location.id, digest: body.digest }));
    for (const [index, called] of [id, "first", digest].entries()) {
      const { status, body } = await restore(`again-${index}`, called, { labels: { a: "b" } });
      expect([status, body.status]).toEqual([200, "running"]);
      expect(body.spec).toMatchObject({
        source: "oci",
        reference: "docker.io/library/starter",
        labels: { a: "b" },
        resources: { vcpus: 1, memory_mib: 64 },
      });
      const { body: resolved } = await gateway.get(`/v1/sandboxes/${body.id}`);
      expect(resolved.spec.runtime.workdir).toBe("/image");
      await gateway.delete(`/v1/sandboxes/${body.id}`);
    }
  });

  test("it is under the server's egress, limits and lifetimes, by flags", async () => {
    const { body } = await restore("bounded", "first", {
      resources: { vcpus: 2, memory_mib: 128 },
      lifecycle: { ephemeral: false, max_duration_secs: 60, idle_timeout_secs: 30 },
      network: { enabled: true, strict: true, max_connections: 7 },
    });
    const [line = ""] = gateway
      .calls()
      .split("\n")
      .filter((each) => each.includes(`--name ${body.id} `));
    for (const flag of ["--cpus=2", "--memory=128M", "--max-duration=60s", "--idle-timeout=30s", "--quiet"])
      expect(line).toContain(flag);
    expect(line).toContain("--security=default");
    expect(line).toContain("--max-tcp-connections=7");
    expect(line).toContain("--net-default=deny");
    expect(line).toContain("--net-rule deny:egress@private:any");
    expect(line).toContain("--net-rule allow:egress@public:any");
    expect(line).toContain("--net-rule allow:ingress@any");
    expect(line).toContain("--allow-missing-resources");
    expect(line.indexOf("deny:egress@private")).toBeLessThan(line.indexOf("allow:egress@public"));
    const off = await restore("off", "first", { network: { enabled: false, strict: true } });
    expect(gateway.calls()).toMatch(new RegExp(`--no-net .*--name ${off.body.id} `));
    expect((await restore("huge", "first", { resources: { vcpus: 1, memory_mib: 1_000_000 } })).status).toBe(
      400,
    );
    expect((await restore("long", "first", { lifecycle: { max_duration_secs: 10_000_000 } })).status).toBe(
      400,
    );
    for (const name of ["bounded", "off"]) await gateway.delete(`/v1/sandboxes/by-name/${name}`);
  });

  test.each<[string, object]>([
    ["env", { env: [{ key: "A", value: "b" }] }],
    ["runtime.workdir", { runtime: { workdir: "/x" } }],
    ["runtime.scripts", { runtime: { scripts: { a: "b" } } }],
    ["patches", { patches: [{ type: "mkdir", path: "/x" }] }],
    ["rlimits", { rlimits: [{ resource: "nofile", soft: 1, hard: 1 }] }],
    ["init", { init: { cmd: "/x" } }],
    ["resources.disk_size_mib", { resources: { vcpus: 1, memory_mib: 64, disk_size_mib: 100 } }],
    ["network.strict", { network: { enabled: true, strict: false } }],
    ["runtime.user", { runtime: { user: "--name=x" } }],
    ["mounts[0]", { mounts: [{ type: "tmpfs", guest: "/x" }] }],
    ["mounts[0].guest", { mounts: [{ type: "named", name: "v", guest: "/x:/y" }] }],
    ["mounts[0]", { mounts: [{ type: "named", name: "v", guest: "/x", options: { noexec: true } }] }],
    ["reference", { reference: "starter" }],
    ["disk_snapshot_ref", { source: "oci", reference: "starter" }],
    ["disk_snapshot_ref", { disk_snapshot_ref: undefined }],
    ["disk_snapshot_ref.type", { disk_snapshot_ref: { type: "host_volume", path: "/etc" } }],
  ])("what a restore can't carry is refused by its name: %s", async (field, change) => {
    const before = gateway.calls();
    const { status, body } = await restore("never", "first", change);
    expect([status, body.error.code]).toEqual([400, "invalid_sandbox_config"]);
    expect(body.error.message).toContain(`${field}: `);
    expect(gateway.calls()).toBe(before);
    expect((await gateway.get("/v1/sandboxes/by-name/never")).status).toBe(404);
  });

  test("it is not made unless it is to run, and volumes are mounted by msb's name of them", async () => {
    const unstarted = await gateway.post("/v1/sandboxes", restoreBody("later", "first"));
    expect(unstarted.body.error.message).toContain("start=true");
    const volume = (await gateway.post("/v1/volumes", { name: "data" })).body;
    const mounts = [{ type: "named", name: "data", guest: "/data", options: { readonly: true } }];
    const { body } = await restore("mounting", "first", { mounts });
    expect(gateway.calls()).toContain(`--volume=${volume.id}:/data:ro`);
    await gateway.delete(`/v1/sandboxes/${body.id}`);
  });

  test("what is not there, and a name that is taken, are told as the contract does", async () => {
    const told = async (answer: Promise<{ status: number; body: { error?: { code: string } } }>) => {
      const { status, body } = await answer;
      return [status, body.error?.code];
    };
    expect(await told(snap("first"))).toEqual([409, "snapshot_name_already_exists"]);
    expect(await told(snap("x", { sandbox_id: "nothing" }))).toEqual([404, "sandbox_not_found"]);
    expect(await told(restore("x", "nothing"))).toEqual([404, "snapshot_not_found"]);
    for (const path of ["nothing", "by-name/nothing", "by-name/snap_0", `by-name/sha256:${"0".repeat(64)}`]) {
      expect(await told(gateway.get(`/v1/snapshots/${path}`))).toEqual([404, "snapshot_not_found"]);
      expect(await told(gateway.delete(`/v1/snapshots/${path}`))).toEqual([404, "snapshot_not_found"]);
    }
    expect(await told(gateway.get("/v1/snapshot-operations/nothing"))).toEqual([404, "not_found"]);
    const { id } = box;
    for (const wrong of ["-x", "a/b", "snap_1", "sha256:x", "a.", id, ""])
      expect([wrong, ...(await told(snap(wrong)))]).toEqual([wrong, 400, "invalid_request"]);
    for (const change of [
      { kind: "full" },
      { dest_dir: "/etc" },
      { record_integrity: true },
      { labels: { a: 1 } },
    ])
      expect(await told(snap("x", change))).toEqual([400, "invalid_request"]);
    expect(await told(gateway.get("/v1/snapshots?cursor=x"))).toEqual([400, "invalid_request"]);
    // As good as absent.
    expect((await snap("plain", { dest_dir: null, record_integrity: false, force: false })).status).toBe(202);
    await gateway.delete("/v1/snapshots/by-name/plain");
  });

  test("one of a sandbox that is stopped leaves it stopped; of one that has no disk there is none", async () => {
    await gateway.post(`/v1/sandboxes/${box.id}/stop`);
    const { body } = await snap("stopped");
    expect(body.status).toBe("succeeded");
    expect((await gateway.get(`/v1/sandboxes/${box.id}`)).body.status).toBe("stopped");
    const { body: unmade } = await gateway.create("unmade", {}, "start=false");
    const answer = await gateway.post("/v1/snapshots", { sandbox_id: unmade.id, name: "none" });
    expect([answer.status, answer.body.error.code]).toEqual([409, "invalid_state_transition"]);
    await gateway.post(`/v1/sandboxes/${box.id}/start`);
  });

  test("pages follow each other, each snapshot on one of them", async () => {
    for (const name of ["c", "a", "b"]) await snap(name);
    const names: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const { body } = await gateway.get(`/v1/snapshots?limit=2${cursor && `&cursor=${cursor}`}`);
      expect(body.data.length).toBeLessThanOrEqual(2);
      names.push(...body.data.map(({ name }: { name: string }) => name));
      cursor = body.next_cursor;
    }
    expect(names).toEqual(["first", "stopped", "c", "a", "b"]);
  });

  test("force takes the place of the one with that name when it stands, and not before", async () => {
    const { body: old } = await gateway.get("/v1/snapshots/by-name/a");
    writeFileSync(join(gateway.home, "fake", "captures"), "fail\n");
    expect((await snap("a", { force: true })).status).toBe(502);
    expect((await gateway.get("/v1/snapshots/by-name/a")).body).toEqual(old);
    writeFileSync(join(gateway.home, "fake", "captures"), "odd\n");
    expect((await snap("a", { force: true })).status).toBe(502);
    writeFileSync(join(gateway.home, "fake", "captures"), "well\n");
    const { body } = await snap("a", { force: true });
    expect((await gateway.get("/v1/snapshots/by-name/a")).body).toEqual(body.result);
    expect((await gateway.get(`/v1/snapshots/${old.location.id}`)).status).toBe(404);
    await gateway.gateway.backend.sweep();
    // Nothing is left of the old one, nor of those that failed.
    const { body: page } = await gateway.get("/v1/snapshots");
    const ids = page.data.map((each: { location: { id: string } }) => `s-${each.location.id}`).sort();
    await until(
      () => JSON.stringify(groups()) === JSON.stringify(ids),
      "only what is listed to be on the disk",
    );
  });

  test("what is removed is gone at once, with its files soon; a sandbox made from it goes on", async () => {
    const { body } = await restore("survivor", "b");
    const { body: found } = await gateway.get("/v1/snapshots/by-name/b");
    expect((await gateway.delete("/v1/snapshots/by-name/b")).status).toBe(200);
    expect((await gateway.get("/v1/snapshots/by-name/b")).status).toBe(404);
    expect((await gateway.get(`/v1/snapshot-operations/${found.location.id}`)).status).toBe(404);
    await until(() => !groups().includes(`s-${found.location.id}`), "its folder to go");
    expect((await gateway.get(`/v1/sandboxes/${body.id}`)).body.status).toBe("running");
    expect((await snap("b")).status).toBe(202);
  });

  test("they are counted in the quotas and the figures, and are lines of the audit log", async () => {
    const { body: page } = await gateway.get("/v1/snapshots");
    const bytes = page.data.reduce(
      (sum: number, { size_bytes }: { size_bytes: number }) => sum + size_bytes,
      0,
    );
    expect((await gateway.get("/v1/quotas")).body).toMatchObject({
      ...{ total_snapshots: page.data.length, max_snapshots: 1000, snapshot_bytes_used: bytes },
    });
    const { body: metrics } = await gateway.get("/metrics");
    expect(metrics).toContain(`msb_gateway_snapshots ${page.data.length}\n`);
    expect(metrics).toContain(`msb_gateway_snapshot_bytes ${bytes}\n`);
  });
});
