import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { infosIn } from "../../../docker/gateway/src/backends/msb/volume-files/list";
import { openFolder } from "../../../docker/gateway/src/backends/msb/volume-files/walk";
import { fileListOf } from "../../../docker/gateway/src/http/volume-file-body";
import { atFileEnd } from "../../harness/file-end";
import { until } from "./harness";
import { listed, VolumeFolder } from "./volume-folder";
import { bearer, withKeys } from "./with-keys";

const WORKSPACE = "/v1/volumes/00000000-0000-4000-8000-000000000002/files";
const ROOT = { "x-msb-file-path": "" };
const MIB = 1024 * 1024;
const COUNT = 6_000;
/** Of all keys, half of them for one. */
const MOST_LISTS = 128;

/** With the longest labels their list is twelve MB: more than the system takes of an answer that nobody reads. */
const VOLUMES = 128;

/** Lists of key "a" whose readers take nothing beyond what the system itself takes for them; all have begun. */
async function unread(url: string, path: string, count: number): Promise<Socket[]> {
  const answers: string[] = [];
  const readers = Array.from({ length: count }, () => {
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
    socket.on("error", () => undefined);
    socket.once("data", (data) => {
      answers.push(String(data));
      socket.pause();
    });
    atFileEnd(() => void socket.destroy());
    const head = ["Host: 127.0.0.1", "Authorization: Bearer a", "x-msb-file-path: "];
    socket.write(`GET ${path} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`);
    return socket;
  });
  await until(() => answers.length === count, "all to begin", 60_000);
  for (const answer of answers) expect(answer).toContain(" 200 ");
  return readers;
}

test("lists that nobody reads hold a part of their folder each, and are so many at most", {
  timeout: 90_000,
}, async () => {
  const { gateway } = await withKeys(["a", "b"].map((key) => ({ id: key, key })));
  const folder = join(gateway.home, "workspace");
  // As text each of these bytes is six.
  const name = "\u0001".repeat(200);
  for (let index = 0; index < COUNT; index++) writeFileSync(join(folder, `${name}${index}`), "");

  const memory = () => {
    const { heapUsed, external } = process.memoryUsage();
    return (heapUsed + external) / MIB;
  };
  const before = memory();
  const readers = await unread(gateway.url, WORKSPACE, MOST_LISTS / 2);
  // A whole list is eight MiB of text.
  expect(memory() - before).toBeLessThan(MOST_LISTS * 2);

  const refused = await gateway.get(WORKSPACE, { ...bearer("a"), ...ROOT });
  expect([refused.status, refused.body.error]).toEqual([
    429,
    { code: "rate_limited", message: "more than 64 lists of folders at once with one key" },
  ]);
  const whole = await gateway.get(WORKSPACE, { ...bearer("b"), ...ROOT });
  expect(new Set(whole.body.entries.map(({ path }: { path: string }) => path)).size).toBe(COUNT);
  for (const reader of readers) reader.destroy();
  const again = async () =>
    (await gateway.get(WORKSPACE, { ...bearer("a"), "x-msb-file-path": "eA" })).status;
  await until(async () => (await again()) === 404, "places to be given back");
});

test("a folder comes in parts, each entry in one of them, and the text of all is one list", async () => {
  const sizes = fc.integer({ min: 0, max: 700 });
  const above = fc.array(fc.stringMatching(/^[a-z]{1,200}$/), { maxLength: 12 });
  const check = async (size: number, names: string[]) => {
    const volume = new VolumeFolder();
    mkdirSync(volume.inside(...names), { recursive: true });
    for (let index = 0; index < size; index++) writeFileSync(volume.inside(...names, `f${index}`), "");
    const path = names.join("/");
    const infos = await listed(volume.files, path);
    expect(new Set(infos.map((info) => info.path.toString())).size).toBe(size);
    expect(infos.length).toBe(size);
    const parts = volume.files.list(Buffer.from(path));
    const { value: first = [] } = await parts.next();
    expect(first.length * (path.length + 256)).toBeLessThanOrEqual(
      Math.max(256 * 1024, 32 * (path.length + 257)),
    );
    let text = "";
    for await (const part of fileListOf(first, parts)) text += part;
    expect(JSON.parse(text).entries.length).toBe(size);
  };
  await fc.assert(fc.asyncProperty(sizes, above, check), { numRuns: 5 });
});

test("a folder of too many entries is refused before its first part", async () => {
  const volume = new VolumeFolder();
  for (let index = 0; index < 600; index++) writeFileSync(volume.inside(`f${index}`), "");
  const folder = await openFolder(volume.root, []);
  const hides = (name: string) => name === "f7";
  const first = (maxEntries: number) => infosIn(folder, [], hides, (work) => work(), maxEntries).next();
  await expect(first(598)).rejects.toMatchObject({
    ...{ kind: "invalidPath", message: '"/" has more than 598 entries: too many to list' },
  });
  const parts = infosIn(folder, [], hides, (work) => work(), 599);
  expect((await parts.next()).value).toHaveLength(500);
  await parts.return(undefined);
  await folder.close();
});

test("lists of volumes that nobody reads are so many at most, half of them for one key", {
  timeout: 90_000,
}, async () => {
  const { gateway } = await withKeys(["a", "b"].map((key) => ({ id: key, key })));
  const labels = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, "\u0001".repeat(4_000)]));
  for (let index = 0; index < VOLUMES; index++) {
    const body = { name: `v${index}`, labels };
    const made = await gateway.request("POST", "/v1/volumes", {
      body,
      headers: bearer("ab"[index % 2] ?? ""),
    });
    expect([made.status, made.body.error]).toEqual([200, undefined]);
  }
  const readers = await unread(gateway.url, "/v1/volumes", MOST_LISTS / 2);
  const list = async (key: string) => gateway.get("/v1/volumes", bearer(key));
  expect((await list("a")).body.error).toEqual({
    ...{ code: "rate_limited", message: "more than 64 lists of volumes at once with one key" },
  });
  expect((await list("b")).body.length).toBe(VOLUMES + 1);
  for (const reader of readers) reader.destroy();
  await until(async () => (await list("a")).status === 200, "places to be given back");
});
