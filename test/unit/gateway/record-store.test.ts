import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as z from "zod";
import { RecordStore } from "../../../docker/gateway/src/backends/msb/record-store";
import { ConfigError } from "../../../docker/gateway/src/errors";
import { TestGateway, temporaryFolder } from "./harness";

const record = z.object({ id: z.string(), size: z.number() });
const silent = { error: () => undefined };

/** What may be there in a record's place. Root may read all, so that what can't be read is no file at all. */
const PLACES = {
  whole: (path: string, id: string) => writeFileSync(path, JSON.stringify({ id, size: 1 })),
  empty: (path: string) => writeFileSync(path, ""),
  cut: (path: string) => writeFileSync(path, '{"id":'),
  odd: (path: string, id: string) => writeFileSync(path, JSON.stringify({ id, size: "large" })),
  binary: (path: string) => writeFileSync(path, Buffer.from([0, 255, 254, 7])),
  folder: (path: string) => mkdirSync(path),
  loop: (path: string) => symlinkSync(path, path),
} as const;
const CANT_BE_READ = ["folder", "loop"];

test("what is broken is set aside, what can't be read stays and is no record's end", async () => {
  const places = fc.array(fc.constantFrom(...(Object.keys(PLACES) as (keyof typeof PLACES)[])), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(places, async (all) => {
      const folder = temporaryFolder();
      for (const [index, place] of all.entries()) PLACES[place](join(folder, `r${index}.json`), `r${index}`);
      const ids = (which: (place: string) => boolean) =>
        all.flatMap((place, index) => (which(place) ? [`r${index}`] : []));
      const isBroken = (place: string) => place !== "whole" && !CANT_BE_READ.includes(place);
      const opening = RecordStore.open(folder, record, silent);
      const fails = all.some((place) => CANT_BE_READ.includes(place));
      if (fails) {
        await expect(opening).rejects.toThrow(ConfigError);
        expect(readdirSync(folder).filter((name) => !name.endsWith(".json"))).toEqual([]);
        // Once somebody has seen to it.
        for (const id of ids((place) => CANT_BE_READ.includes(place))) {
          rmSync(join(folder, `${id}.json`), { recursive: true });
          PLACES.whole(join(folder, `${id}.json`), id);
        }
      }
      // At this start and at those after it.
      for (const again of [1, 2]) {
        const store = await (fails || again > 1 ? RecordStore.open(folder, record, silent) : opening);
        expect([...store.all()].map(({ id }) => id).sort()).toEqual(ids((place) => !isBroken(place)).sort());
        expect([...store.setAside].sort()).toEqual(ids(isBroken).sort());
        for (const id of ids(isBroken)) expect(existsSync(join(folder, `${id}.json.unreadable`))).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});

test("a server whose records can't be read does not start, and loses nothing", async () => {
  const first = await TestGateway.start();
  const { id } = (await first.create("precious", {}, "")).body;
  const made = (await first.create("made")).body.id;
  await first.close();
  const files = [id, made].map((each) => join(first.home, "gateway", "sandboxes", `${each}.json`));
  const texts = files.map((file) => readFileSync(file, "utf8"));
  for (const file of files) {
    renameSync(file, `${file}.away`);
    symlinkSync(file, file);
  }
  const start = TestGateway.start({}, first.home);
  await expect(start).rejects.toThrow(/can't be read: ELOOP.*start the server again/s);
  for (const file of files) {
    rmSync(file);
    renameSync(`${file}.away`, file);
  }
  const second = await TestGateway.start({}, first.home);
  expect((await second.get("/v1/sandboxes")).body.data.map((each: { id: string }) => each.id).sort()).toEqual(
    [id, made].sort(),
  );
  expect(files.map((file) => JSON.parse(readFileSync(file, "utf8")).owner)).toEqual(
    texts.map((text) => JSON.parse(text).owner),
  );
});

test("the disk and the payload of one whose record is broken stay until somebody mends it", async () => {
  const first = await TestGateway.start();
  const patches = [{ type: "text", path: "/a", content: "b" }];
  const { id } = (await first.create("unmade", { patches }, "")).body;
  await first.close();
  const file = join(first.home, "gateway", "sandboxes", `${id}.json`);
  const text = readFileSync(file, "utf8");
  writeFileSync(file, "{");
  const disk = join(first.home, "sandboxes", id);
  mkdirSync(disk, { recursive: true });
  for (let start = 0; start < 2; start++) {
    const server = await TestGateway.start({}, first.home);
    expect((await server.get(`/v1/sandboxes/${id}`)).status).toBe(404);
    await server.close();
    expect(existsSync(disk)).toBe(true);
    expect(readdirSync(join(first.home, "gateway", "payloads"))).toEqual([`${id}.json`]);
  }
  rmSync(`${file}.unreadable`);
  rmSync(disk, { recursive: true });
  writeFileSync(file, text);
  const mended = await TestGateway.start({}, first.home);
  expect((await mended.post(`/v1/sandboxes/${id}/start?wait_for=running`)).body.status).toBe("running");
  expect(JSON.stringify(mended.made("unmade")?.conf)).toContain('"content":"b"');
});
