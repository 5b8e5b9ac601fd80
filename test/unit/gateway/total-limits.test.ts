import { describe, expect, test } from "vitest";
import { newBody, TestGateway } from "./harness";
import { bearer, withKeys } from "./with-keys";

const DAY = 86_400;

describe("the life of a sandbox", () => {
  const lifecycle = async (env: Record<string, string>, change: object = {}) => {
    const gateway = await TestGateway.start(env);
    const { status, body } = await gateway.create("some", { lifecycle: { ephemeral: false, ...change } });
    return { status, gateway, code: body.error?.code, id: body.id, lifecycle: body.spec?.lifecycle };
  };

  test("ends where its client has set no end: after seven days, or a day without use", async () => {
    const { gateway, id, lifecycle: set } = await lifecycle({});
    expect(set).toMatchObject({ max_duration_secs: 7 * DAY, idle_timeout_secs: DAY });
    expect(gateway.made(id)?.conf).toMatchObject({ max_duration: "604800s", idle_timeout: "86400s" });
    expect((await gateway.get("/v1/quotas")).body).toMatchObject({
      ...{ max_duration_seconds: 7 * DAY, max_idle_seconds: DAY },
    });
  });

  test("is what the client says, up to the limit", async () => {
    const env = { LIMIT_MAX_DURATION_SECONDS: "100", LIMIT_IDLE_TIMEOUT_SECONDS: "50" };
    const own = { max_duration_secs: 100, idle_timeout_secs: 49 };
    expect((await lifecycle(env, own)).lifecycle).toMatchObject(own);
    for (const more of [{ max_duration_secs: 101 }, { idle_timeout_secs: 51 }]) {
      const { status, code } = await lifecycle(env, more);
      expect([status, code]).toEqual([400, "invalid_sandbox_config"]);
    }
  });

  test("has no end where the limits are 0", async () => {
    const env = { LIMIT_MAX_DURATION_SECONDS: "0", LIMIT_IDLE_TIMEOUT_SECONDS: "0" };
    expect((await lifecycle(env)).lifecycle).toMatchObject({
      max_duration_secs: null,
      idle_timeout_secs: null,
    });
    expect((await lifecycle(env, { max_duration_secs: 9 * DAY })).status).toBe(200);
  });
});

describe("in all", () => {
  const pending = (gateway: TestGateway, name: string, key = "a") =>
    gateway.request("POST", "/v1/sandboxes?start=false", { body: newBody(name), headers: bearer(key) });
  const volume = (gateway: TestGateway, name: string, key = "a", capacity_gib?: number) =>
    gateway.request("POST", "/v1/volumes", {
      body: { name, labels: {}, capacity_gib },
      headers: bearer(key),
    });
  const limited = (limits: Record<string, number>, env: Record<string, string>) =>
    withKeys(
      [
        { id: "ann", key: "a", limits },
        { id: "bob", key: "b" },
      ],
      env,
    );

  test("sandboxes are counted whether they run or not, of one key and of all; a removal makes room", async () => {
    const { gateway } = await limited({ totalSandboxes: 2 }, { LIMIT_TOTAL_SANDBOXES: "3" });
    for (const name of ["one", "two"]) expect((await pending(gateway, name)).status).toBe(200);
    const { status, body } = await pending(gateway, "three");
    expect([status, body.error.message]).toEqual([429, expect.stringMatching(/ann.*2/)]);
    expect((await pending(gateway, "four", "b")).status).toBe(200);
    expect((await pending(gateway, "five", "b")).status).toBe(429);
    expect((await gateway.get("/v1/quotas", bearer("a"))).body).toMatchObject({ max_sandboxes: 2 });
    await gateway.request("DELETE", "/v1/sandboxes/by-name/one", { headers: bearer("a") });
    expect((await pending(gateway, "three")).status).toBe(200);
  });

  test("volumes and their capacity are counted, of one key and of all; a removal makes room", async () => {
    const { gateway } = await limited(
      { volumes: 2, volumeGiB: 3 },
      { LIMIT_VOLUMES: "3", LIMIT_VOLUME_GIB: "10" },
    );
    const made = await volume(gateway, "one", "a", 2);
    expect(made.status).toBe(200);
    expect((await volume(gateway, "large", "a", 2)).status).toBe(429);
    expect((await volume(gateway, "two", "a")).status).toBe(200);
    expect((await volume(gateway, "three", "a")).status).toBe(429);
    expect((await volume(gateway, "large", "b", 9)).status).toBe(429);
    const gib = async (key: string) => {
      const { volume_gib_used, max_volume_gib } = (await gateway.get("/v1/quotas", bearer(key))).body;
      return [volume_gib_used, max_volume_gib];
    };
    expect([await gib("a"), await gib("b")]).toEqual([
      [2, 3],
      [2, 10],
    ]);
    expect((await volume(gateway, "four", "b")).status).toBe(200);
    expect((await volume(gateway, "five", "b")).status).toBe(429);
    await gateway.request("DELETE", `/v1/volumes/${made.body.id}`, { headers: bearer("a") });
    expect((await volume(gateway, "large", "a", 3)).status).toBe(200);
  });
});
