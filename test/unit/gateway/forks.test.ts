import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { exec } from "../../../setup/exec";
import { running, settled, wanted, within } from "./backend-contract/world";
import { FAKE_MSB, TestGateway, until } from "./harness";
import { MsbWorld } from "./msb-world";

let gateway: TestGateway;

const read = (home: string, file: string) => readFileSync(join(home, "fake", file), "utf8");
const inMsb = (home: string, ending: string) =>
  readdirSync(join(home, "fake", "sandboxes"))
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .sort();

const fork = (name: string, body: object) => gateway.post(`/v1/sandboxes/by-name/${name}/fork`, body);

describe("forks over HTTP", () => {
  beforeAll(async () => {
    gateway = await TestGateway.start({ LIMIT_SANDBOXES: "10" });
  });

  test("by id and by name, by names and by count: each is its source, and the answer says what they share", async () => {
    await gateway.create("source", { labels: { a: "b" } });
    const { body: source } = await gateway.get("/v1/sandboxes/by-name/source");
    expect(source.forked_from).toBe(null);
    const { status, body } = await fork("source", { names: ["one", "two"] });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      source: source.id,
      forks: ["one", "two"].map((name) => ({
        ...{ name, slug: name, status: "running", paused: false, forked_from: source.id, ephemeral: false },
        spec: { ...source.spec, name },
      })),
      renewed: ["kernel_random_state", "clock"],
    });
    expect(body.shared_with_source).toEqual(expect.arrayContaining(["boot_id", "user_space_random_state"]));
    expect(body.shared_with_source).not.toContain("secrets");
    for (const each of body.forks) expect((await gateway.get(`/v1/sandboxes/${each.id}`)).body).toEqual(each);
    // One call of msb's, and nothing of a client's in it.
    const [one, two] = body.forks;
    const flags = "--quiet --dangerously-inherit-resources";
    expect(read(gateway.home, "forks.log")).toBe(
      `${flags} --names=${one.id} --names=${two.id} -- ${source.id}\n`,
    );
    const { body: more } = await gateway.post(`/v1/sandboxes/${one.id}/fork`, { count: 2 });
    for (const each of more.forks) {
      expect(each.name).toMatch(/^one-fork-[0-9a-f]{8}$/);
      expect(each.forked_from).toBe(one.id);
    }
    const { body: page } = await gateway.get("/v1/sandboxes");
    expect(page.data).toHaveLength(5);
    for (const { id } of page.data) expect((await gateway.delete(`/v1/sandboxes/${id}`)).status).toBe(200);
    await until(() => inMsb(gateway.home, ".status").length === 0, "all of them to be removed from msb");
  });

  test.each<[string, object]>([
    ["nothing", {}],
    ["both", { names: ["a"], count: 1 }],
    ["no name", { names: [] }],
    ["a name twice", { names: ["a", "a"] }],
    ["a name that is an option", { names: ["--name"] }],
    ["too many", { count: 33 }],
    ["none", { count: 0 }],
    ["what can't be inherited", { count: 1, inherit: ["keys"] }],
    ["a network of its own", { count: 1, network: { policy: { default_egress: "allow" } } }],
    ["a list", []],
  ])("a body that asks for %s is refused", async (_what, body) => {
    const { status } = await gateway.create("refusing");
    expect([200, 409]).toContain(status);
    const before = read(gateway.home, "forks.log");
    const answer = await fork("refusing", body);
    expect([answer.status, answer.body.error.code]).toEqual([400, "invalid_request"]);
    expect(read(gateway.home, "forks.log")).toBe(before);
    expect((await fork("nothing", { count: 1 })).status).toBe(404);
  });

  test("all or none: a name that is taken, no room, and a fork that msb can't make", async () => {
    await gateway.create("whole");
    await gateway.create("taken", {}, "start=false");
    const names = async () =>
      (await gateway.get("/v1/sandboxes")).body.data.map((each: { name: string }) => each.name);
    const before = await names();
    const taken = await fork("whole", { names: ["free", "taken"] });
    expect([taken.status, taken.body.error.code]).toEqual([409, "name_already_exists"]);
    const full = await fork("whole", { count: 10 });
    expect([full.status, full.body.error.code]).toEqual([429, "quota_exceeded"]);
    writeFileSync(join(gateway.home, "fake", "boots"), "fail\n");
    expect((await fork("whole", { names: ["free", "freer"] })).status).toBe(502);
    writeFileSync(join(gateway.home, "fake", "boots"), "well\n");
    expect(await names()).toEqual(before);
    await until(
      () => inMsb(gateway.home, ".status").length === before.length - 1,
      "nothing of them to be left",
    );
    expect((await fork("whole", { names: ["free", "freer"] })).status).toBe(200);
    expect((await gateway.get("/v1/sandboxes/by-name/whole")).body.status).toBe("running");
  });

  test("where the client leaves before they are ready, none stays", async () => {
    writeFileSync(join(gateway.home, "fake", "boots"), "hang\n");
    const path = "/v1/sandboxes/by-name/whole/fork";
    const left = gateway.request("POST", path, {
      body: { names: ["left", "leaver"] },
      signal: AbortSignal.timeout(700),
    });
    await expect(left).rejects.toThrow();
    const listed = async () => JSON.stringify((await gateway.get("/v1/sandboxes")).body);
    await until(async () => !/left|leaver/.test(await listed()), "them to be gone");
    writeFileSync(join(gateway.home, "fake", "boots"), "well\n");
    await until(() => inMsb(gateway.home, ".capturing").length === 0, "the fork to have ended");
    expect((await fork("whole", { names: ["left"] })).status).toBe(200);
  });

  test("the route is described", async () => {
    const { paths } = (await gateway.get("/openapi.json")).body;
    for (const path of ["/v1/sandboxes/{id}/fork", "/v1/sandboxes/by-name/{name}/fork"])
      expect(paths[path].post).toMatchObject({ description: expect.stringMatching(/extension/) });
  });
});

describe("what forks may reach", () => {
  test("a source that was made when more was allowed is not forked", async () => {
    const first = await TestGateway.start({ EGRESS: '{"level":"all"}' });
    await first.create("greedy");
    await first.close();
    const second = await TestGateway.start({}, first.home);
    expect((await second.get("/v1/sandboxes/by-name/greedy")).body.status).toBe("running");
    const { status, body } = await second.post("/v1/sandboxes/by-name/greedy/fork", { count: 1 });
    expect([status, body.error.message]).toEqual([409, expect.stringContaining("more of the network")]);
    expect(existsSync(join(first.home, "fake", "forks.log"))).toBe(false);
    await second.create("modest");
    const { body: made } = await second.post("/v1/sandboxes/by-name/modest/fork", { names: ["fork"] });
    await second.close();
    // A fork remembers what its source was made under.
    const none = await TestGateway.start({ EGRESS: '{"level":"none"}' }, first.home);
    await none.post(`/v1/sandboxes/${made.forks[0].id}/stop`);
    expect((await none.post(`/v1/sandboxes/${made.forks[0].id}/start?wait_for=running`)).status).toBe(409);
  });

  test("what was made with msb itself is not forked", async () => {
    const first = await TestGateway.start();
    const conf = join(first.home, "conf");
    writeFileSync(conf, '{"image":{"oci":"starter"},"cpus":1,"memory":"64M"}\n');
    await exec(FAKE_MSB, ["create", "--name", "stray", "--conf", conf], { env: { MSB_HOME: first.home } });
    await until(async () => (await first.get("/v1/sandboxes/by-name/stray")).status === 200, "it to be seen");
    expect((await first.post("/v1/sandboxes/by-name/stray/fork", { count: 1 })).status).toBe(409);
  });
});

describe("the server is killed while forks are made", () => {
  test("at any moment: what was answered is there, and nothing else in msb or on the disk", {
    timeout: 240_000,
  }, async () => {
    const world = await MsbWorld.make();
    const { id } = await running(world, "source");
    let seed = 20_261_127;
    const next = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    for (let round = 0; round < 12; round++) {
      const { sandboxes } = world.backend;
      let alive = true;
      const answered = new Set<string>();
      const work = async (lane: string) => {
        for (let time = 0; alive; time++) {
          const names = [1, 2].map((each) => `${lane}-${round}-${time}-${each}`);
          const begun = await sandboxes.fork(id, { names, inherit: new Set() });
          for (const each of begun) {
            const made = await sandboxes.until(each.id, (box) => box.settled, within(20_000));
            if (alive && made.status === "running") answered.add(made.id);
          }
        }
      };
      const lanes = ["a", "b"].map((lane) => work(lane).catch(() => undefined));
      await sleep(next() * 600);
      alive = false;
      const before = new Set(answered);
      await world.restart("crashed");
      await Promise.all(lanes);
      const listed = (await world.backend.sandboxes.list({ labels: {}, limit: 500 })).items;
      const ids = listed.map((each) => each.id);
      expect([round, ids]).toEqual([round, expect.arrayContaining([...before])]);
      for (const each of ids) expect((await settled(world, each)).status).toBe("running");
      const clean = async () => {
        await world.backend.sweep();
        const now = JSON.stringify(ids.slice().sort());
        const folders = readdirSync(join(world.home, "sandboxes")).sort();
        return JSON.stringify(inMsb(world.home, ".status")) === now && JSON.stringify(folders) === now;
      };
      await until(clean, `round ${round}: msb to have what is listed, and nothing besides`, 20_000);
      expect(await world.backend.usage()).toMatchObject({ total: ids.length, running: ids.length });
      for (const each of ids) if (each !== id) await world.backend.sandboxes.want(each, "removed");
    }
    await refusesNothing(world, id);
  });
});

/** The source has lived through all of it. */
async function refusesNothing(world: MsbWorld, id: string): Promise<void> {
  const { sandboxes } = world.backend;
  expect((await settled(world, id)).status).toBe("running");
  const [last] = await sandboxes.fork(id, { names: [wanted("last").spec.name], inherit: new Set() });
  const { status, failure } = await settled(world, last?.id ?? "");
  expect([status, failure]).toEqual(["running", null]);
}
