import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { type TestGateway, temporaryFolder, until } from "./harness";
import { bearer, withKeys } from "./with-keys";

const FILES = "/v1/volumes/00000000-0000-4000-8000-000000000002/files";
const at = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });

/** A program that notes that it began before it does what the script says. */
function programIs(name: string, script: string): () => number {
  const folder = temporaryFolder();
  const log = join(folder, "log");
  writeFileSync(join(folder, name), `#!/bin/sh\necho x >>${log}\n${script}\n`, { mode: 0o755 });
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
  return () => (existsSync(log) ? readFileSync(log).length / 2 : 0);
}

async function start() {
  const keys = ["ann", "bob"].map((id) => ({ id, key: id }));
  const { gateway } = await withKeys(keys, { LIMIT_DISK_RESERVE_MIB: "0" });
  for (const name of ["f", "sparse"]) writeFileSync(join(gateway.home, "workspace", name), "x");
  return gateway;
}

/** Many requests of one key, and how many of them are answered by now. */
function many(gateway: TestGateway, count: number, method: string, path: string, options: object) {
  const client = new AbortController();
  const statuses: number[] = [];
  for (let index = 0; index < count; index++)
    void gateway
      .request(method, path, { ...options, signal: client.signal })
      .then(({ status }) => statuses.push(status))
      .catch(() => undefined);
  return { statuses, leave: () => client.abort() };
}

describe("requests for files", () => {
  test("of one key let another's through, and end when their client goes", async () => {
    const gateway = await start();
    const begun = programIs("getfattr", 'sleep 0.2\nexec /usr/bin/getfattr "$@"');
    const stat = (key: string) => ({ headers: { ...bearer(key), ...at("/f") } });
    const flood = many(gateway, 100, "GET", `${FILES}/stat`, stat("ann"));
    await until(() => begun() > 0, "ann's first");
    expect((await gateway.request("GET", `${FILES}/stat`, stat("bob"))).status).toBe(200);
    expect(flood.statuses.length).toBeLessThan(50);
    flood.leave();
    const before = begun();
    for (let times = 0; times < 3; times++)
      expect((await gateway.request("GET", `${FILES}/stat`, stat("bob"))).status).toBe(200);
    // Bob's own, and what of ann's the server began before it knew.
    expect(begun() - before).toBeLessThan(20);
  });

  test("of one key have half of the places", async () => {
    const gateway = await start();
    programIs("getfattr", "sleep 1");
    const headers = { ...bearer("ann"), ...at("/f") };
    const flood = many(gateway, 540, "GET", `${FILES}/stat`, { headers });
    await until(() => flood.statuses.includes(429), "a refusal", 30_000);
    const exists = { headers: { ...bearer("bob"), ...at("/f") } };
    expect((await gateway.request("GET", `${FILES}/exists`, exists)).body).toEqual({ exists: true });
    flood.leave();
  }, 60_000);

  test("with more than 255 names in the path are refused", async () => {
    const gateway = await start();
    const ask = (names: number) =>
      gateway.get(`${FILES}/exists`, { ...bearer("ann"), ...at("/a".repeat(names)) });
    expect((await ask(255)).body).toEqual({ exists: false });
    expect((await ask(256)).body.error.code).toBe("invalid_volume_path");
  });
});

describe("copies", () => {
  const copy = (key: string, from: string, to: string) => ({ headers: bearer(key), body: { from, to } });

  test("cost nothing for the holes of a file", async () => {
    const gateway = await start();
    truncateSync(join(gateway.home, "workspace", "sparse"), 4 * 1024 ** 4);
    const flood = many(gateway, 3, "POST", `${FILES}/copy`, copy("ann", "/sparse", "/far"));
    const one = await gateway.request("POST", `${FILES}/copy`, copy("bob", "/f", "/g"));
    expect(one.status).toBe(200);
    await until(() => flood.statuses.length === 3, "all of them");
    expect(flood.statuses).toEqual([200, 200, 200]);
  });

  test("leave a turn to another key, and end when their client goes", async () => {
    const gateway = await start();
    const begun = programIs("cp", 'if [ -e "$0.quick" ]; then exec /bin/cp "$@"; fi\nexec sleep 60');
    const flood = many(gateway, 8, "POST", `${FILES}/copy`, copy("ann", "/sparse", "/far"));
    await until(() => begun() === 2, "those of ann that have a turn");
    writeFileSync(join((process.env.PATH ?? "").split(":")[0] ?? "", "cp.quick"), "");
    const one = await gateway.request("POST", `${FILES}/copy`, copy("bob", "/f", "/g"));
    expect(one.status).toBe(200);
    expect(begun()).toBe(3);
    flood.leave();
    const left = () =>
      readdirSync(join(gateway.home, "workspace"), { recursive: true, withFileTypes: true }).filter(
        (entry) => entry.isFile() && entry.parentPath.includes(".msb-uploads"),
      );
    await until(() => left().length === 0, "nothing is left");
    expect(existsSync(join(gateway.home, "workspace", "far"))).toBe(false);
  });
});
