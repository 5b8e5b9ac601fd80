import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { newBody } from "./harness";
import { ServersWorld } from "./servers-world";

test("a create that mounts volumes asks each server once, however many it names", async () => {
  const world = await ServersWorld.make();
  const { sandboxes, volumes } = world.backend;
  const owner = "ann";
  const names = Array.from({ length: 9 }, (_, at) => `v${at}`);
  const servers = new Map<string, number>();
  for (const name of names) {
    const { id } = await volumes.create({ name, labels: {}, owner });
    servers.set(name, world.worlds.indexOf(world.at(id)));
  }
  const asked = world.worlds.map(({ backend }) => vi.spyOn(backend.volumes, "known"));
  const perName = world.worlds.map(({ backend }) => vi.spyOn(backend, "hasName"));
  let created = 0;
  const one = async (mounted: string[]) => {
    for (const each of [...asked, ...perName]) each.mockClear();
    const mounts = mounted.map((name, at) => ({ type: "named", name, guest: `/m${at}` }));
    const { spec, slug } = readCreateRequest(createBody.parse(newBody(`box${created++}`, { mounts })));
    const made = await sandboxes.create({ spec, slug, owner, desired: "stopped" }).catch((error) => error);
    expect(asked.map(({ mock }) => mock.calls.length)).toEqual(mounted.length > 0 ? [1, 1, 1] : [0, 0, 0]);
    expect(perName.flatMap(({ mock }) => mock.calls.filter(([kind]) => kind === "volume"))).toEqual([]);
    const on = new Set(mounted.map((name) => servers.get(name)));
    const missing = mounted.find((name) => !servers.has(name));
    if (missing) expect(made).toMatchObject({ kind: "volumeNotFound" });
    else if (on.size > 1) expect(made).toMatchObject({ kind: "conflict" });
    else if (on.size === 1) expect(world.worlds.indexOf(world.at(made.id))).toBe([...on][0]);
  };
  const some = fc.uniqueArray(fc.constantFrom(...names, "none"), { maxLength: 5 });
  await fc.assert(fc.asyncProperty(some, one), {
    numRuns: 25,
    examples: [[names], [[]]],
    endOnFailure: true,
  });
}, 120_000);

test("a volume whose id names no server is asked for once, and no list is made", async () => {
  const world = await ServersWorld.make({}, { areNumbered: false });
  const { volumes } = world.backend;
  const scope = { owner: "ann" };
  const [one] = world.worlds;
  const { id } = (await one?.backend.volumes.create({ name: "a", labels: {}, owner: "ann" })) ?? { id: "" };
  const lists = world.worlds.map(({ backend }) => vi.spyOn(backend.volumes, "list"));
  await expect(volumes.remove("nothing", scope)).rejects.toMatchObject({ kind: "volumeNotFound" });
  await expect(volumes.remove(id, { owner: "bob" })).rejects.toMatchObject({ kind: "volumeNotFound" });
  await volumes.files(id, scope, { owner: "ann", signal: new AbortController().signal });
  await volumes.remove(id, scope);
  expect(lists.flatMap(({ mock }) => mock.calls)).toEqual([]);
});
