import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { askServer } from "../../../docker/gateway/src/backends/msb/admin";
import { applyRegistrySettings } from "../../../docker/gateway/src/backends/msb/registry-settings";
import { writeKeyFile } from "../../harness/key-file";
import { newBody, START, TestGateway, temporaryFolder, until } from "./harness";

const inline = (password = "right") => ({ registry: { mode: "inline", username: "me", password } });
const PRIVATE = "private/team:1";

let gateway: TestGateway;
const pulls = () => {
  const file = join(gateway.home, "fake", "pulls.log");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
};
const fake = (name: string, text = "") => writeFileSync(join(gateway.home, "fake", name), text);

describe("pulls", () => {
  beforeEach(async () => {
    gateway = await TestGateway.start();
  });

  test("happen once for all who wait, and not at all for what is cached", async () => {
    const creates = Array.from({ length: 6 }, (_each, at) =>
      gateway.create(`s${at}`, { reference: "hang-a" }),
    );
    await until(() => pulls().length > 0, "the pull");
    fake("release");
    expect((await Promise.all(creates)).map(({ status }) => status)).toEqual(Array(6).fill(200));
    await gateway.create("later", { reference: "hang-a" });
    await gateway.create("other-spelling", { reference: "docker.io/library/hang-a:latest" });
    expect(pulls()).toHaveLength(1);
    await gateway.create("anew", { reference: "hang-a", pull_policy: "always" });
    expect(pulls().at(-1)).toMatch(/--force -- hang-a/);
  });

  test("of an image that msb lost meanwhile are made again", async () => {
    await gateway.create("one", { reference: "lost" });
    await gateway.delete("/v1/sandboxes/by-name/one");
    await askServer(gateway.home, "/images/prune", {});
    writeFileSync(join(gateway.home, "fake", "images", "kept"), "2020-01-01T00:00:00Z\n");
    expect((await gateway.create("two", { reference: "lost" })).status).toBe(200);
    unlinkSync(join(gateway.home, "fake", "images", "lost"));
    expect((await gateway.create("three", { reference: "lost" })).status).toBe(200);
    expect(pulls()).toHaveLength(3);
  });

  test("that fail are told in our own words, with no address", async () => {
    for (const [reference, status, words] of [
      ["absent", 400, "the registry does not know it"],
      ["refused-x", 400, "the registry refused"],
      ["broken-registry", 502, "does not answer as it should"],
      ["unreachable", 502, "does not answer as it should"],
    ] as const) {
      const { status: answered, body } = await gateway.create("failing", { reference });
      expect([answered, body.error.message]).toEqual([status, expect.stringContaining(words)]);
      expect(body.error.message).not.toMatch(/inner|https?:|code: 500/);
    }
    expect(
      (await gateway.create("never", { reference: "other", pull_policy: "never" })).body.error.message,
    ).toMatch(/not cached/);
  });

  test("with credentials of a request show them to msb alone, in no file and on no command line", async () => {
    expect((await gateway.create("mine", { reference: PRIVATE, ...inline() })).status).toBe(200);
    expect(pulls()[0]).toMatch(/^--quiet --force -- private\/team:1 login=me\/right/);
    expect(readdirSync(join(gateway.home, "gateway", "tmp"))).toEqual([]);
    for (const file of readdirSync(join(gateway.home, "gateway"), { recursive: true, withFileTypes: true }))
      if (file.isFile())
        expect(readFileSync(join(file.parentPath, file.name), "utf8")).not.toContain("right");
    expect(gateway.made("mine")?.conf).toMatchObject({ pull_policy: "never", image: { oci: PRIVATE } });
    expect(gateway.calls()).not.toContain("right");
  });

  test("without credentials leave the stack's own aside, others use them", async () => {
    const logins = { "private.test": { username: "bot", password: "x" } };
    await applyRegistrySettings(gateway.home, { logins });
    const anonymous = { registry: { mode: "anonymous" } };
    await gateway.create("anonymous", { reference: "private.test/a", ...anonymous });
    await gateway.create("with-stack", { reference: "private.test/b" });
    expect(pulls().map((line) => /login=\S+/.exec(line)?.[0])).toEqual(["login=/", "login=none"]);
  });

  test("are not made where the server makes none", async () => {
    gateway = await TestGateway.start({ AUTO_PULL_IMAGES: "false" });
    for (const pull_policy of ["if_missing", "always", "never"]) {
      expect((await gateway.create("no", { reference: "other", pull_policy })).body.error.message).toMatch(
        /not cached/,
      );
      expect((await gateway.create(`yes-${pull_policy.replace("_", "")}`, { pull_policy })).status).toBe(200);
    }
    expect(pulls()).toEqual([]);
  });
});

describe("a private image", () => {
  let as: Record<"a" | "b" | "c", (name: string, change?: object) => ReturnType<TestGateway["create"]>>;
  beforeEach(async () => {
    ({ gateway, as } = await withThree());
  });

  async function withThree(home = temporaryFolder(), env: Record<string, string> = {}) {
    const file = join(temporaryFolder(), "keys");
    writeKeyFile(
      file,
      ["a", "b", "c"].map((id) => ({ id, key: `key-of-${id}` })),
    );
    const started = await TestGateway.start({ DEV_MODE: "false", API_KEYS_FILE: file, ...env }, home);
    const by =
      (key: "a" | "b" | "c") =>
      (name: string, change: object = {}) =>
        started.request("POST", `/v1/sandboxes?${START}`, {
          body: newBody(name, { reference: PRIVATE, ...change }),
          headers: { authorization: `Bearer key-of-${key}` },
        });
    return { gateway: started, as: { a: by("a"), b: by("b"), c: by("c") } };
  }
  const status = async (answer: ReturnType<TestGateway["create"]>) => (await answer).status;

  test("runs for others only after they have shown that they may pull it, across restarts", async () => {
    expect(await status(as.a("a1", inline()))).toBe(200);
    expect(await status(as.a("a2"))).toBe(200);
    const refused = await as.b("b1");
    expect([refused.status, refused.body.error.message]).toEqual([400, expect.stringContaining("refused")]);
    expect(await status(as.b("b2", inline("wrong")))).toBe(400);
    for (const reference of [`docker.io/${PRIVATE}`, `index.docker.io/${PRIVATE}`])
      expect(await status(as.b("b3", { reference })), reference).not.toBe(200);
    await gateway.close();
    ({ gateway, as } = await withThree(gateway.home));
    expect(await status(as.b("b4"))).toBe(400);
    expect(await status(as.b("b5", inline()))).toBe(200);
    // Neither has locked the other out, and both use what is cached.
    const before = pulls().length;
    expect([await status(as.a("a3")), await status(as.b("b6"))]).toEqual([200, 200]);
    expect(pulls()).toHaveLength(before);
    expect(await status(as.c("c1"))).toBe(400);
  });

  test("that was public when a create began to wait for its turn is not used when the turn comes", async () => {
    const { images } = gateway.gateway.backend;
    const path = join(gateway.home, "fake", "images");
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, PRIVATE.replace("/", "%")), "2020-01-01T00:00:00Z sha256:1\n");
    const request = { reference: PRIVATE, pullPolicy: "if_missing", autoPull: true } as const;
    const { recheck } = await images.prepare({ ...request, owner: "b", deadlineMs: Date.now() + 5_000 });
    expect(recheck).not.toThrow();
    fake("version", "2\n");
    expect(await status(as.a("a1", { ...inline(), pull_policy: "always" }))).toBe(200);
    expect(recheck).toThrow(/changed/);
  });

  test("that is not to be pulled is as if it were not there", async () => {
    await as.a("a1", inline());
    const [there, not] = [
      await as.b("b1", { pull_policy: "never" }),
      await as.b("b2", { pull_policy: "never", reference: "private/other:1" }),
    ];
    expect(there.status).toBe(not.status);
    expect(there.body.error.message).toBe(not.body.error.message.replace("private/other:1", PRIVATE));
  });

  test("is for all once somebody has pulled it without credentials", async () => {
    await as.a("a1", inline());
    fake("opened");
    expect(await status(as.b("b1"))).toBe(200);
    const before = pulls().length;
    expect(await status(as.c("c1"))).toBe(200);
    expect(pulls()).toHaveLength(before);
  });

  test("takes nothing from others that was for all, unless it is another content", async () => {
    fake("opened");
    fake("version", "1\n");
    expect(await status(as.b("b1"))).toBe(200);
    expect(await status(as.a("a1", { pull_policy: "always", ...inline("whatever") }))).toBe(200);
    const before = pulls().length;
    expect(await status(as.b("b2"))).toBe(200);
    expect(pulls()).toHaveLength(before);
    // A failed pull takes nothing either.
    unlinkSync(join(gateway.home, "fake", "opened"));
    expect(await status(as.a("a2", { pull_policy: "always", ...inline("wrong") }))).toBe(400);
    expect(await status(as.b("b3"))).toBe(200);
    fake("version", "2\n");
    expect(await status(as.a("a3", { pull_policy: "always", ...inline() }))).toBe(200);
    expect(await status(as.b("b4"))).toBe(400);
    expect(await status(as.a("a4"))).toBe(200);
  });

  test("of a state without notes is for all, as it was", async () => {
    mkdirSync(join(gateway.home, "fake", "images"), { recursive: true });
    writeFileSync(
      join(gateway.home, "fake", "images", PRIVATE.replace("/", "%")),
      "2020-01-01T00:00:00Z sha256:1\n",
    );
    expect(await status(as.b("b1"))).toBe(200);
  });

  test("leaves no note once it is gone, nor do images that never came", async () => {
    const notes = () => JSON.parse(readFileSync(join(gateway.home, "gateway", "image-access.json"), "utf8"));
    await as.a("a1", inline());
    for (let at = 0; at < 5; at++) await as.a(`f${at}`, { reference: `refused-${at}`, ...inline("wrong") });
    expect(Object.keys(notes())).toEqual([`docker.io/${PRIVATE}`]);
    await gateway.request("DELETE", "/v1/sandboxes/by-name/a1", {
      headers: { authorization: "Bearer key-of-a" },
    });
    await gateway.close();
    ({ gateway, as } = await withThree(gateway.home));
    const uses = JSON.parse(readFileSync(join(gateway.home, "gateway", "image-uses.json"), "utf8"));
    expect(Object.keys(uses)).toEqual([`docker.io/${PRIVATE}`]);
  });
});
