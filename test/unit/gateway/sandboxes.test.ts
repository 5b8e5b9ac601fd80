import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { handleOf, NEW_CLIENT, OLD_CLIENT, oldBody, START, TestGateway, until } from "./harness";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.start();
});

describe("create", () => {
  test("answers a running sandbox, with its id, to a 0.7 client", async () => {
    const { status, body } = await gateway.create("new-shape", { labels: { team: "a" } });
    expect(status).toBe(200);
    expect(body).toMatchObject({ name: "new-shape", slug: "new-shape", status: "running", ephemeral: false });
    expect(body.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(Date.parse(body.started_at)).toBeGreaterThan(0);
  });

  test("takes the 0.6 shape and answers each client in its own", async () => {
    const made = await gateway.request("POST", `/v1/sandboxes?${START}`, {
      body: oldBody("old-shape", { runtime: { workdir: "/etc" } }),
      headers: { "user-agent": OLD_CLIENT },
    });
    expect(made.status).toBe(200);
    const path = "/v1/sandboxes/by-name/old-shape";
    const old = await gateway.get(path, { "user-agent": OLD_CLIENT });
    expect(old.body.spec.image).toEqual({ type: "oci", reference: "starter" });
    expect(old.body.spec.runtime.workdir).toBe("/etc");
    const young = await gateway.get(path, { "user-agent": NEW_CLIENT });
    expect(young.body.spec).toMatchObject({
      source: "oci",
      reference: "starter",
      image: { Oci: { reference: "starter" } },
    });
    expect(young.body.spec).not.toHaveProperty("pull_policy");
  });

  test("answers the image's own working folder to whoever reconnects", async () => {
    await gateway.create("resolved");
    const { body } = await gateway.get("/v1/sandboxes/by-name/resolved");
    expect(body.spec.runtime).toMatchObject({ workdir: "/image", cmd: ["/bin/sh"] });
  });

  test("passes msb none of the server's environment", async () => {
    process.env.GATEWAY_TEST_SECRET = "x";
    await gateway.create("environment", { env: [{ key: "A", value: "$" + "{HOME}" }] });
    expect(gateway.calls()).not.toContain("GATEWAY_TEST_SECRET");
    expect(gateway.calls()).toContain("MSB_HOME");
    delete process.env.GATEWAY_TEST_SECRET;
  });

  test("keeps a secret only until msb has it, and never answers it", async () => {
    const value = "a-secret-of-the-guest";
    const secrets = {
      entries: [{ env_var: "KEY", value, allowed_hosts: [{ type: "exact", value: "a.test" }] }],
    };
    const { status, body } = await gateway.create("secretive", { network: { secrets } });
    expect(status).toBe(200);
    expect(gateway.made("secretive")?.conf.secrets.KEY.value).toBe(value);
    expect(gateway.calls()).not.toContain(value);
    const answers = [body, (await gateway.get("/v1/sandboxes")).body];
    const file = readFileSync(join(gateway.home, "gateway", "sandboxes", `${body.id}.json`), "utf8");
    expect(JSON.stringify(answers) + file).not.toContain(value);
  });

  test("hands scripts over as they are", async () => {
    const body = "#!/bin/sh\necho hi\n";
    await gateway.create("scripts", { runtime: { scripts: { go: body } } });
    expect(gateway.scripts()).toBe(body);
  });

  test("of two creates of one name one wins", async () => {
    const both = await Promise.all([gateway.create("twice"), gateway.create("twice")]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    const lost = both.find(({ status }) => status === 409);
    expect(lost?.body.error.code).toBe("name_already_exists");
    expect((await gateway.create("twice")).status).toBe(409);
  });

  test("a boot that fails gives its reason and leaves nothing", async () => {
    const { status, body } = await gateway.create("no-boot", { reference: "broken" });
    expect(status).toBe(502);
    expect(body.error).toMatchObject({ code: "nomad_job_failed" });
    expect(body.error.message).toContain("sandbox process exited");
    expect(gateway.made("no-boot")).toBeUndefined();
    expect((await gateway.get("/v1/sandboxes/by-name/no-boot")).status).toBe(404);
    expect((await gateway.create("no-boot")).status).toBe(200);
  });

  test("an image that is not there is the client's mistake", async () => {
    const { status, body } = await gateway.create("no-image", { reference: "absent" });
    expect(status).toBe(400);
    expect(body.error).toMatchObject({ code: "invalid_sandbox_config" });
    expect(body.error.message).toContain("the registry does not know it");
  });

  test("a wait that ends before the boot answers starting, and the boot goes on", async () => {
    const quick = "start=true&wait_for=running&wait_timeout=0";
    const { status, body } = await gateway.create("slowly", { reference: "slow" }, quick);
    expect([status, body.status, body.status_reason]).toEqual([200, "starting", "scheduling"]);
    const now = () => gateway.get(`/v1/sandboxes/${body.id}`);
    await until(async () => (await now()).body.status === "running", "the boot");
  });

  test("a boot that fails after the answer shows as failed, with the reason, and can be started", async () => {
    const { body } = await gateway.create("late", { reference: "broken" }, "start=true");
    expect(body.status).toBe("starting");
    const now = () => gateway.get("/v1/sandboxes/by-name/late");
    await until(async () => (await now()).body.status === "failed", "the failure");
    expect((await now()).body.last_failure_message).toContain("sandbox process exited");
    expect((await gateway.post(`/v1/sandboxes/${body.id}/start?wait_for=running`)).status).toBe(502);
    expect((await gateway.delete(`/v1/sandboxes/${body.id}`)).status).toBe(200);
  });

  test("without start it is only written down, and made by the first start", async () => {
    const { body } = await gateway.create("later", { env: [{ key: "A", value: "b" }] }, "");
    expect(body).toMatchObject({ status: "created", started_at: null });
    expect(gateway.made("later")).toBeUndefined();
    const started = await gateway.post("/v1/sandboxes/by-name/later/start?wait_for=running");
    expect(started.body).toMatchObject({ id: body.id, status: "running" });
    expect(gateway.made("later")?.conf.env).toEqual({ A: "b" });
  });

  test("a first start that fails before msb is asked tells why, and so does the sandbox until the next one", async () => {
    const { body } = await gateway.create("no-pull", { reference: "absent" }, "start=false");
    const now = async () => (await gateway.get(`/v1/sandboxes/${body.id}`)).body;
    expect(await now()).toMatchObject({ status: "created", last_failure_message: null });
    for (const path of [body.id, "by-name/no-pull"]) {
      const failed = await gateway.post(`/v1/sandboxes/${path}/start?wait_for=running`);
      expect([failed.status, failed.body.error.code]).toEqual([400, "invalid_sandbox_config"]);
      expect(failed.body.error.message).toContain("the registry does not know it");
      const { status, last_failure_message } = await now();
      expect([status, last_failure_message]).toEqual(["created", failed.body.error.message]);
    }
  });

  test("a client that goes away leaves no sandbox", async () => {
    const controller = new AbortController();
    const body = { ...oldBody("cut-off"), image: { type: "oci", reference: "slow" } };
    const cut = gateway.request("POST", `/v1/sandboxes?${START}`, { body, signal: controller.signal });
    await until(() => gateway.made("cut-off") !== undefined, "the create");
    controller.abort();
    await expect(cut).rejects.toThrow();
    await until(() => gateway.made("cut-off") === undefined, "its removal");
    await until(async () => (await gateway.get("/v1/sandboxes/by-name/cut-off")).status === 404, "the 404");
  });
});

describe("life", () => {
  test("stop, start and delete, by id and by name", async () => {
    const { body } = await gateway.create("life");
    const stopped = await gateway.post(`/v1/sandboxes/${body.id}/stop`);
    expect(stopped.body).toMatchObject({ id: body.id, status: "stopped" });
    expect(stopped.body.stopped_at).not.toBeNull();
    expect((await gateway.post("/v1/sandboxes/by-name/life/stop")).status).toBe(200);
    const again = await gateway.post("/v1/sandboxes/by-name/life/start?wait_for=running&wait_timeout=90");
    expect(again.body).toMatchObject({ id: body.id, status: "running", stopped_at: null });
    expect((await gateway.delete("/v1/sandboxes/by-name/life")).body.message).toContain("deleted");
    for (const path of ["by-name/life", body.id]) {
      const gone = await gateway.get(`/v1/sandboxes/${path}`);
      expect([gone.status, gone.body.error.code]).toEqual([404, "sandbox_not_found"]);
    }
    expect(gateway.made("life")).toBeUndefined();
  });

  test("a start that fails says why", async () => {
    await gateway.create("bad-start", { env: [{ key: "FAIL_START", value: "1" }] });
    await gateway.post("/v1/sandboxes/by-name/bad-start/stop");
    const { status, body } = await gateway.post("/v1/sandboxes/by-name/bad-start/start?wait_for=running");
    expect([status, body.error.code]).toEqual([502, "nomad_job_failed"]);
    expect(body.error.message).toContain("no memory");
  });

  test("an ephemeral one is removed after its stop and still answers stopped", async () => {
    const { body } = await gateway.create("ephemeral", { lifecycle: { ephemeral: true } });
    expect((await gateway.post(`/v1/sandboxes/${body.id}/stop`)).body.status).toBe("stopped");
    const names = async () => {
      const { data } = (await gateway.get("/v1/sandboxes?limit=500")).body;
      return data.map(({ name }: { name: string }) => name);
    };
    await until(async () => !(await names()).includes("ephemeral"), "its end in the list");
    await until(() => gateway.made("ephemeral") === undefined, "its removal");
    for (const path of ["by-name/ephemeral", body.id]) {
      const { status, body: seen } = await gateway.get(`/v1/sandboxes/${path}`);
      expect([status, seen.status, seen.id]).toEqual([200, "stopped", body.id]);
    }
    expect((await gateway.post(`/v1/sandboxes/${body.id}/start`)).status).toBe(404);
    const second = await gateway.create("ephemeral");
    expect(second.status).toBe(200);
    expect((await gateway.get("/v1/sandboxes/by-name/ephemeral")).body.id).toBe(second.body.id);
    expect((await gateway.get(`/v1/sandboxes/${body.id}`)).body.status).toBe("stopped");
    expect((await gateway.delete(`/v1/sandboxes/${body.id}`)).status).toBe(200);
  });

  test("one removed with msb itself is forgotten, one made with it is taken in", async () => {
    const { body } = await gateway.create("behind");
    const handle = handleOf(gateway.home, "behind");
    rmSync(join(gateway.home, "fake", "sandboxes", `${handle}.status`));
    rmSync(join(gateway.home, "sandboxes", handle), { recursive: true });
    await until(async () => (await gateway.get(`/v1/sandboxes/${body.id}`)).status === 404, "the 404", 3000);
    const again = await gateway.create("behind");
    expect(again.body.id).not.toBe(body.id);
  });
});

describe("list", () => {
  test("pages in the order of creation, filtered by labels", async () => {
    const own = await TestGateway.start();
    for (const name of ["p1", "p2", "p3", "p4"])
      await own.create(name, { labels: { page: "yes", odd: String(Number(name[1]) % 2) } }, "");
    const names = ({ data }: { data: { name: string }[] }) => data.map(({ name }) => name);
    const first = (await own.get("/v1/sandboxes?limit=3")).body;
    expect(names(first)).toEqual(["p1", "p2", "p3"]);
    const second = (await own.get(`/v1/sandboxes?limit=3&cursor=${first.next_cursor}`)).body;
    expect([names(second), second.next_cursor]).toEqual([["p4"], null]);
    const odd = encodeURIComponent(JSON.stringify({ page: "yes", odd: "1" }));
    expect(names((await own.get(`/v1/sandboxes?labels=${odd}`)).body)).toEqual(["p1", "p3"]);
  });

  test("pages of large specs end early, and the cursor goes on", async () => {
    const own = await TestGateway.start();
    const args = Array.from({ length: 60 }, () => "a".repeat(1000));
    const wanted = Array.from({ length: 40 }, (_, index) => `p${index}`);
    for (const name of wanted) {
      const { status } = await own.create(name, { init: { cmd: "x", args, env: [] } }, "");
      expect(status).toBe(200);
    }
    const seen: string[] = [];
    let pages = 0;
    for (let cursor = ""; cursor !== null; pages++) {
      const { status, body } = await own.get(`/v1/sandboxes?limit=500${cursor && `&cursor=${cursor}`}`);
      expect(status).toBe(200);
      expect(body.data.length).toBeGreaterThan(0);
      expect(JSON.stringify(body).length).toBeLessThan(1024 * 1024 + 200);
      seen.push(...body.data.map(({ name }: { name: string }) => name));
      cursor = body.next_cursor;
    }
    expect(seen).toEqual(wanted);
    expect(pages).toBe(3);
  });

  test.each([
    ["limit=0", "limit"],
    ["limit=x", "limit"],
    ["cursor=%00", "cursor"],
    ["labels=[1]", "labels"],
    ["labels={", "labels"],
  ])("refuses %s", async (query, field) => {
    const { status, body } = await gateway.get(`/v1/sandboxes?${query}`);
    expect([status, body.error.code]).toEqual([400, "invalid_request"]);
    expect(body.error.message).toContain(field);
  });
});
