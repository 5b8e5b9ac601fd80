import { existsSync, mkdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { askServer } from "../../../docker/gateway/src/backends/msb/admin";
import { newBody, START, TestGateway, until } from "./harness";
import { smallDisk } from "./volume-folder";

const MIB = 1024 * 1024;
const part = (gateway: TestGateway, image: string) =>
  join(gateway.home, "cache", "tmp", `sha256_${image}.part`);
const sizeOf = (path: string) => (existsSync(path) ? statSync(path).size : 0);

const disk = smallDisk("100m");

test.skipIf(!disk)("a pull ends when the disk has no more than its reserve, and leaves nothing", async () => {
  const home = String(disk);
  const gateway = await TestGateway.start({ LIMIT_DISK_RESERVE_MIB: "10" }, home);
  const free = async () => {
    const { bavail, bsize } = await statfs(home);
    return (bavail * bsize) / MIB;
  };
  writeFileSync(join(home, "ballast"), Buffer.alloc(((await free()) - 12) * MIB));
  // Whoever waits for a pull gets the reason, and pulls of other images end for it as well.
  const answers = await Promise.all(
    ["one", "two", "other"].map((name) =>
      gateway.create(name, { reference: name === "other" ? "big-b" : "big-a" }),
    ),
  );
  for (const { status, body } of answers) {
    expect([status, body.error.code]).toEqual([507, "quota_exceeded"]);
    expect(body.error.message).toContain("but for its reserve of 10 MiB");
  }
  expect([existsSync(part(gateway, "big-a")), existsSync(part(gateway, "big-b"))]).toEqual([false, false]);
  expect(await free()).toBeGreaterThan(11);
  // The disk is looked at once a second.
  const goesOn = async () => (await gateway.create("three", { reference: "small" })).status === 200;
  await until(goesOn, "creates go on", 20_000);
});

test("what a pull has left that nobody waited for goes with the next prune, not that of one that runs", async () => {
  const gateway = await TestGateway.start();
  const leave = new AbortController();
  const left = gateway
    .request("POST", `/v1/sandboxes?${START}`, {
      body: newBody("left", { reference: "big-left" }),
      signal: leave.signal,
    })
    .catch(() => undefined);
  await until(() => sizeOf(part(gateway, "big-left")) > 0, "its first bytes");
  leave.abort();
  await left;
  const running = gateway.create("runs", { reference: "big-runs" });
  await until(() => sizeOf(part(gateway, "big-runs")) > 0, "its first bytes");
  const old = part(gateway, "of-last-week");
  mkdirSync(join(gateway.home, "cache", "layers"), { recursive: true });
  const notUnpacked = join(gateway.home, "cache", "layers", "sha256_a.tar.gz");
  for (const path of [old, notUnpacked]) {
    writeFileSync(path, "some");
    utimesSync(path, new Date(0), new Date(0));
  }
  await askServer(gateway.home, "/images/prune", {});
  expect([old, notUnpacked].map((path) => existsSync(path))).toEqual([false, false]);
  expect(sizeOf(part(gateway, "big-runs"))).toBeGreaterThan(0);

  writeFileSync(join(gateway.home, "fake", "release"), "");
  expect((await running).status).toBe(200);
  // The next pull of that image would have gone on with it.
  expect(existsSync(part(gateway, "big-left"))).toBe(true);
  await askServer(gateway.home, "/images/prune", {});
  expect(existsSync(part(gateway, "big-left"))).toBe(false);
});
