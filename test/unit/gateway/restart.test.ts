import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TestGateway, temporaryFolder, until } from "./harness";

const record = (name: string, change: object) => ({
  id: `00000000-0000-4000-8000-0000${Buffer.from(name).toString("hex").padStart(8, "0").slice(0, 8)}`,
  ...{ name, slug: name, owner: null, phase: "creating", answered: false, ephemeral: false, spec: null },
  ...{ resolved: null, createdAt: new Date().toISOString(), startedAt: null, stoppedAt: null },
  ...{ expiresAt: null, keepUntil: null, lastFailure: null },
  ...change,
});

/** A home as a crash may have left it. */
async function homeWith(records: ReturnType<typeof record>[], made: string[] = []): Promise<string> {
  const home = temporaryFolder();
  await mkdir(join(home, "gateway", "sandboxes"), { recursive: true });
  await mkdir(join(home, "fake", "sandboxes"), { recursive: true });
  for (const each of records)
    writeFileSync(join(home, "gateway", "sandboxes", `${each.id}.json`), JSON.stringify(each));
  for (const name of made) {
    await mkdir(join(home, "sandboxes", name, "logs"), { recursive: true });
    const write = (what: string, text: string) =>
      writeFileSync(join(home, "fake", "sandboxes", `${name}.${what}`), `${text}\n`);
    write("conf", '{"image":{"oci":"starter"},"cpus":1,"memory":"64M"}');
    write("created", new Date().toISOString());
    write("status", "Running");
  }
  return home;
}

describe("restart", () => {
  test("ids, labels and specs are the same afterwards", async () => {
    const first = await TestGateway.start();
    const { body } = await first.create("kept", { labels: { a: "b" }, runtime: { workdir: "/etc" } });
    await first.close();
    const second = await TestGateway.start({}, first.home);
    const again = (await second.get("/v1/sandboxes/by-name/kept")).body;
    expect(again).toMatchObject({ id: body.id, status: "running", created_at: body.created_at });
    expect(again.spec.labels).toEqual({ a: "b" });
  });

  test("a create that was cut off before its answer leaves nothing, whenever msb finishes it", async () => {
    const home = await homeWith([record("cut", {})], ["cut"]);
    const gateway = await TestGateway.start({}, home);
    await gateway.gateway.backend.sweep();
    expect(gateway.made("cut")).toBeUndefined();
    expect((await gateway.create("cut")).status).toBe(200);
  });

  test("a create that was answered is kept: running if msb made it, failed if not", async () => {
    const records = [record("made", { answered: true }), record("lost", { answered: true })];
    const gateway = await TestGateway.start({}, await homeWith(records, ["made"]));
    expect((await gateway.get("/v1/sandboxes/by-name/made")).body.status).toBe("running");
    const lost = (await gateway.get("/v1/sandboxes/by-name/lost")).body;
    expect(lost).toMatchObject({
      status: "failed",
      last_failure_message: expect.stringContaining("server ended"),
    });
  });

  test("a removal that was cut off is finished", async () => {
    const gateway = await TestGateway.start(
      {},
      await homeWith([record("half", { phase: "removing" })], ["half"]),
    );
    await gateway.gateway.backend.sweep();
    expect(gateway.made("half")).toBeUndefined();
    expect((await gateway.get("/v1/sandboxes/by-name/half")).status).toBe(404);
  });

  test("what msb made without us is taken in, and keeps its id", async () => {
    const first = await TestGateway.start({}, await homeWith([], ["stray"]));
    const { id, status, spec } = (await first.get("/v1/sandboxes/by-name/stray")).body;
    expect([status, spec.reference]).toEqual(["running", "starter"]);
    await first.close();
    const second = await TestGateway.start({}, first.home);
    expect((await second.get("/v1/sandboxes/by-name/stray")).body.id).toBe(id);
  });

  test("an expiry that passed while the server was down is carried out", async () => {
    const past = { phase: "known", expiresAt: Date.now() - 1000, startedAt: new Date().toISOString() };
    const gateway = await TestGateway.start({}, await homeWith([record("over", past)], ["over"]));
    await gateway.gateway.backend.sweep();
    expect(gateway.made("over")?.status).toBe("Stopped");
  });

  test("an ephemeral one that ended by itself is removed; its tombstone is dropped in time", async () => {
    const gateway = await TestGateway.start();
    const { body } = await gateway.create("ends", { lifecycle: { ephemeral: true, max_duration_secs: 60 } });
    await gateway.gateway.backend.sweep(Date.now() + 61_000);
    await until(() => gateway.made("ends") === undefined, "its removal");
    await until(
      async () => (await gateway.get(`/v1/sandboxes/${body.id}`)).body.status === "stopped",
      "stopped",
    );
    await until(async () => {
      await gateway.gateway.backend.sweep(Date.now() + 3_600_000);
      return (await gateway.get(`/v1/sandboxes/${body.id}`)).status === 404;
    }, "the end of its tombstone");
    const files = () => readdirSync(join(gateway.home, "gateway", "sandboxes"));
    await until(() => files().length === 0, "the end of its record");
  });

  test("a record that can't be read is set aside; half-written files go", async () => {
    const home = await homeWith([record("fine", { phase: "pending" })]);
    const folder = join(home, "gateway", "sandboxes");
    writeFileSync(join(folder, "broken.json"), "{");
    writeFileSync(join(folder, "x.json.abc.tmp"), "{");
    const gateway = await TestGateway.start({}, home);
    expect((await gateway.get("/v1/sandboxes/by-name/fine")).body.status).toBe("created");
    expect(
      readdirSync(folder)
        .sort()
        .filter((name) => !name.startsWith("0")),
    ).toEqual(["broken.json.unreadable"]);
  });

  test("records are for the server's eyes only", async () => {
    const gateway = await TestGateway.start();
    await gateway.create("private", { env: [{ key: "TOKEN", value: "s3cret" }] });
    const folder = join(gateway.home, "gateway", "sandboxes");
    const [file] = readdirSync(folder);
    expect(JSON.parse(readFileSync(join(folder, file ?? ""), "utf8")).name).toBe("private");
    const { statSync } = await import("node:fs");
    expect(statSync(join(folder, file ?? "")).mode & 0o777).toBe(0o600);
  });

  test("a stop of the server stops what runs", async () => {
    const gateway = await TestGateway.start();
    await gateway.create("one");
    await gateway.create("two");
    await gateway.gateway.stop();
    expect([gateway.made("one")?.status, gateway.made("two")?.status]).toEqual(["Stopped", "Stopped"]);
  });

  test("a stop of the server waits no longer than its timeout", async () => {
    const gateway = await TestGateway.start({ STOP_TIMEOUT_SECONDS: "1" });
    await gateway.create("slow", { env: [{ key: "SLOW_STOP", value: "10" }] });
    const began = Date.now();
    await gateway.gateway.stop();
    expect(Date.now() - began).toBeLessThan(2500);
  });
});
