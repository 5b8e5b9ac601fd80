import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { until } from "./harness";
import { create, logFolder, mounts, SECRET, type TwoOwners, twoOwners } from "./two-owners";

/** The ways from one key to another's things that the review of the server at 659e3d2 found. */

let { ann, bob } = {} as TwoOwners;

test("S1: a tombstone shows nobody else's log", async () => {
  const { gateway, ann, bob } = await twoOwners();
  const lifecycle = { ephemeral: true, max_duration_secs: null, idle_timeout_secs: null };
  const { id } = (await create(ann, "build", { lifecycle })).body;
  await ann.ask("POST", `/v1/sandboxes/${id}/stop`, { body: {} });
  await until(async () => (await create(bob, "build")).status === 200, "the name is free");
  const box = (await bob.ask("GET", "/v1/sandboxes/by-name/build")).body;
  appendFileSync(
    join(logFolder(gateway.home, box), "exec.log"),
    `{"t":"2026-01-01T00:00:00Z","s":"stdout","d":"${SECRET}"}\n`,
  );
  const { body } = await ann.ask("GET", `/v1/sandboxes/${id}/logs?sources=stdout,stderr,output,system`);
  expect(JSON.stringify(body)).not.toMatch(/only-bob|started/);
});

test("S2: a volume of the same name is another volume, whatever was mounted before", async () => {
  const { ann, bob } = await twoOwners();
  const { id } = (await ann.ask("POST", "/v1/volumes", { body: { name: "data" } })).body;
  const box = (await create(ann, "build", { mounts: mounts("data") }, "")).body;
  const removed = await ann.ask("DELETE", `/v1/volumes/${id}`);
  const theirs = await bob.ask("POST", "/v1/volumes", { body: { name: "data" } });
  expect(theirs.status).toBe(200);
  const started = await ann.ask("POST", `/v1/sandboxes/${box.id}/start?wait_for=running`, { body: {} });
  // Either the volume could not be removed, and is Ann's own still; or what mounted it does not start.
  expect([removed.status === 200, started.status === 200]).not.toEqual([true, true]);
});

test("S3: an image pulled with one key's login runs for another only after a pull of its own", async () => {
  const { ann, bob } = await twoOwners();
  const image = { reference: "private/secret:1" };
  const registry = { mode: "inline", username: "me", password: "right" };
  expect((await create(ann, "build", { ...image, registry })).status).toBe(200);
  const [cached, never] = [
    await create(bob, "theft", image),
    await create(bob, "theft", { reference: "private/never:1" }),
  ];
  expect(cached.status).toBe(400);
  // Whether somebody has pulled it is not told either.
  expect(JSON.stringify(cached.body)).toBe(
    JSON.stringify(never.body).replaceAll("private/never", "private/secret"),
  );
  expect((await create(bob, "own", { ...image, registry })).status).toBe(200);
});

describe("names of one's own", () => {
  beforeAll(async () => {
    ({ ann, bob } = await twoOwners());
  });

  test("both keys make a sandbox and a volume of the same name, and each has its own", async () => {
    const made = await Promise.all([ann, bob].map((who) => create(who, "build")));
    expect(made.map(({ status }) => status)).toEqual([200, 200]);
    const volumes = [];
    for (const who of [ann, bob])
      volumes.push(await who.ask("POST", "/v1/volumes", { body: { name: "data" } }));
    expect(volumes.map(({ status }) => status)).toEqual([200, 200]);
    for (const [index, who] of [ann, bob].entries()) {
      expect((await who.ask("GET", "/v1/sandboxes/by-name/build")).body.id).toBe(made[index]?.body.id);
      expect((await who.ask("GET", "/v1/volumes")).body.map(({ id }: { id: string }) => id)).toEqual([
        volumes[index]?.body.id,
      ]);
    }
    expect((await create(ann, "build")).status).toBe(409);
    expect((await ann.ask("DELETE", "/v1/sandboxes/by-name/build")).status).toBe(200);
    expect((await bob.ask("GET", "/v1/sandboxes/by-name/build")).body).toMatchObject({ status: "running" });
  });
});
