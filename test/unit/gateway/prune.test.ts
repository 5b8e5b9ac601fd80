import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, test } from "vitest";
import { serverHome, serverPath } from "../../../components/server/stack-files";
import { adminSocket, askServer } from "../../../docker/gateway/src/backends/msb/admin";
import type { PruneReport } from "../../../docker/gateway/src/backends/msb/image-prune";
import { applyRegistrySettings } from "../../../docker/gateway/src/backends/msb/registry-settings";
import { type Answer, TestGateway, until } from "./harness";

const DAY = 86_400;
let gateway: TestGateway;
beforeEach(async () => {
  gateway = await TestGateway.start();
});

/** An image in msb's cache, downloaded so many days ago. */
function cached(name: string, days = 0, bytes = 0): void {
  const images = join(gateway.home, "fake", "images");
  const layers = join(gateway.home, "cache", "layers");
  for (const folder of [images, layers]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(images, name), `${new Date(Date.now() - days * DAY * 1000).toISOString()}\n`);
  if (bytes > 0) writeFileSync(join(layers, name), Buffer.alloc(bytes, 1));
}
/** As the stack writes its setting. */
const setImages = (images: string[]) =>
  writeFileSync(join(gateway.home, serverPath("images").slice(serverHome.length)), JSON.stringify(images));
const isCached = (name: string) => existsSync(join(gateway.home, "fake", "images", name));
const prune = async (options: object = {}) =>
  (await askServer(gateway.home, "/images/prune", options)) as PruneReport;

describe("prune", () => {
  test("removes what no sandbox uses, and never the built-in image", async () => {
    cached("unused");
    cached("in-use");
    await gateway.create("in-use", { reference: "in-use" });
    expect(await prune()).toMatchObject({
      removed: ["unused"],
      kept: [
        { reference: "starter", reason: "it is the built-in image" },
        { reference: "in-use", reason: "a sandbox or a snapshot uses it" },
      ],
    });
    expect([isCached("unused"), isCached("in-use")]).toEqual([false, true]);
  });

  test("goes by the last start, across restarts, or else by the download", async () => {
    for (const name of ["old", "old-and-used", "young"]) cached(name, name === "young" ? 1 : 30);
    await gateway.create("made", { reference: "old-and-used" });
    await gateway.delete("/v1/sandboxes/by-name/made");
    await gateway.close();
    gateway = await TestGateway.start({}, gateway.home);
    expect((await prune({ olderThanSeconds: 7 * DAY })).removed).toEqual(["old"]);
    expect((await prune()).removed.sort()).toEqual(["old-and-used", "young"]);
  });

  test("of too large a cache removes the least used first, and no more than needed", async () => {
    const mebibyte = 1024 * 1024;
    cached("second", 20, mebibyte);
    cached("first", 30, mebibyte);
    cached("third", 10, mebibyte);
    const { removed, bytes } = await prune({ maxBytes: 2.5 * mebibyte });
    expect(removed).toEqual(["first"]);
    expect(bytes).toBeLessThan(2.5 * mebibyte);
    expect(bytes).toBeGreaterThan(2 * mebibyte);
    expect((await prune({ maxBytes: 10 * mebibyte })).removed).toEqual([]);
    expect((await prune({ maxBytes: 0, olderThanSeconds: 15 * DAY })).removed).toEqual(["second"]);
  });

  test("keeps what a start works with, and what one is to start from", async () => {
    cached("slow-3");
    cached("later");
    await gateway.create("pending", { reference: "later" }, "");
    const boot = gateway.create("booting", { reference: "slow-3" });
    await until(() => gateway.made("booting") !== undefined, "the boot");
    expect((await prune()).kept).toEqual(
      expect.arrayContaining([
        { reference: "slow-3", reason: "a sandbox is starting from it" },
        { reference: "later", reason: "a sandbox is to start from it" },
      ]),
    );
    expect((await boot).status).toBe(200);
    expect([isCached("slow-3"), isCached("later")]).toEqual([true, true]);
  });

  test("keeps the mirror's image of one that is to start", async () => {
    await applyRegistrySettings(gateway.home, { mirrors: { "docker.io": "mirror/" } });
    await gateway.close();
    gateway = await TestGateway.start({}, gateway.home);
    await gateway.create("pending", { reference: "alpine" }, "");
    cached("mirror%library%alpine:latest");
    expect((await prune()).kept).toContainEqual({
      reference: "mirror/library/alpine:latest",
      reason: "a sandbox is to start from it",
    });
  });

  test("keeps what the setting images names, in any spelling and under a mirror", async () => {
    await applyRegistrySettings(gateway.home, { mirrors: { "docker.io": "mirror/" } });
    for (const name of ["named", "mirror%library%mirrored:latest", "other"]) cached(name, 30);
    setImages(["docker.io/library/named:latest", "mirrored"]);
    const { removed, kept } = await prune({ maxBytes: 0 });
    expect(removed).toEqual(["other"]);
    for (const reference of ["named", "mirror/library/mirrored:latest"])
      expect(kept).toContainEqual({ reference, reason: "the setting images names it" });
  });

  test("against starts before and during a removal: no start meets an image that is going", async () => {
    cached("another");
    await prune();
    writeFileSync(join(gateway.home, "fake", "slow-removal"), "");
    for (let round = 0; round < 6; round++) {
      cached("pruned-image");
      const starts = (round % 2 === 0 ? [0, 80, 150] : [60, 150, 250]).map(async (delay, index) => {
        await sleep(delay);
        return gateway.create(`round-${round}-${index}`, {
          reference: "pruned-image",
          pull_policy: "if_missing",
        });
      });
      await sleep(30);
      const { removed } = await prune();
      const answers = await Promise.all(starts);
      const made = answers.filter(({ status }) => status === 200);
      // A start that comes meanwhile waits: it has the image for good, or it finds it gone.
      expect(made.length, removed.join()).toBe(removed.includes("pruned-image") ? 0 : starts.length);
      for (const { body } of made) await gateway.delete(`/v1/sandboxes/${body.id}`);
    }
  });
});

test("before a pull beyond the room for images, those go that nobody used for the longest", async () => {
  await gateway.close();
  gateway = await TestGateway.start({ LIMIT_IMAGE_GIB: "1" });
  for (const [name, days] of [
    ["newer", 3],
    ["oldest", 30],
  ] as const) {
    cached(name, days);
    // Room on the disk, without a byte written.
    execFileSync("fallocate", ["-l", "700M", join(gateway.home, "cache", "layers", name)]);
  }
  expect((await gateway.create("third", { reference: "other" })).status).toBe(200);
  expect([isCached("oldest"), isCached("newer")]).toEqual([false, true]);
  await gateway.create("user", { reference: "newer" });
  execFileSync("fallocate", ["-l", "1200M", join(gateway.home, "cache", "layers", "newer")]);
  let refused: Answer | undefined;
  // What is known of the room may be some seconds old.
  await until(
    async () => {
      refused = await gateway.create(`fourth-${Date.now()}`, { reference: "another", pull_policy: "always" });
      return refused.status !== 200;
    },
    "a full cache",
    30_000,
  );
  expect([refused?.status, refused?.body.error.code]).toEqual([429, "quota_exceeded"]);
  expect(refused?.body.error.message).toMatch(/images take 1\.2 GiB, 1\.0 GiB are allowed/);
});

test("a pull that is refused by its name removes nothing, and msb's lock files take no room", async () => {
  await gateway.close();
  gateway = await TestGateway.start({ LIMIT_IMAGE_GIB: "1" });
  cached("old", 30);
  const file = join(gateway.home, "cache", "layers", "layer");
  execFileSync("fallocate", ["-l", "1200M", file]);
  const { status, body } = await gateway.create("refused", { reference: "127.0.0.1/image" });
  expect([status, body.error.message]).toEqual([400, expect.stringMatching(/127\.0\.0\.1/)]);
  expect(isCached("old")).toBe(true);
  renameSync(file, `${file}.erofs.lock`);
  expect((await gateway.create("pulled", { reference: "other" })).status).toBe(200);
  expect(isCached("old")).toBe(true);
});

test("what the setting images names and a restore has taken away is pulled again, and tried again", async () => {
  await gateway.close();
  gateway = await TestGateway.start({ AUTO_PULL_IMAGES: "false" }, undefined, { resume: false });
  setImages(["unreachable", "named", "also-named"]);
  cached("also-named");
  await gateway.gateway.backend.resume();
  // It waits for the pulls under way.
  await gateway.gateway.backend.sweep();
  const pulls = () =>
    readFileSync(join(gateway.home, "fake", "pulls.log"), "utf8").match(/[\w-]+(?= login)/g);
  expect(pulls()).toEqual(["unreachable", "named"]);
  // With no pull of its own a create finds it.
  expect((await gateway.create("user", { reference: "named" })).status).toBe(200);
  expect((await gateway.create("other", { reference: "other" })).body.error.message).toMatch(/not cached/);
  rmSync(join(gateway.home, "fake", "images", "also-named"));
  await prune({ olderThanSeconds: DAY });
  await gateway.gateway.backend.sweep();
  // What can't be pulled is left alone for a while.
  expect(pulls()).toEqual(["unreachable", "named", "also-named"]);
});

test("what the socket does not know it refuses, and a server that is gone is told of", async () => {
  await expect(askServer(gateway.home, "/images/remove-all", {})).rejects.toThrow("no such command");
  await expect(askServer(gateway.home, "/images/prune", { olderThan: 1 })).rejects.toThrow(/olderThan/);
  expect(existsSync(adminSocket(gateway.home))).toBe(true);
  await gateway.close();
  await expect(askServer(gateway.home, "/images/prune", {})).rejects.toThrow(/the server does not answer/);
});
