import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SandboxService } from "../../../docker/gateway/src/sandboxes/service";
import { running, wanted } from "./backend-contract/world";
import { until } from "./harness";
import { MsbWorld } from "./msb-world";

const stays = new AbortController().signal;

/** Makes the records that come after those that are there impossible to write, once they are there. */
async function blockRecords(world: MsbWorld, count: number): Promise<{ ids: string[]; release: () => void }> {
  const folder = join(world.home, "gateway", "sandboxes");
  const files = () => readdirSync(folder).filter((file) => file.endsWith(".json"));
  const known = new Set(files());
  const added = () => files().filter((file) => !known.has(file));
  await until(() => added().length === count, "the records");
  const blocked = added();
  for (const file of blocked) {
    rmSync(join(folder, file));
    mkdirSync(join(folder, file, "x"), { recursive: true });
  }
  return {
    ids: blocked.map((file) => file.slice(0, -".json".length)),
    release: () => {
      for (const file of blocked) rmSync(join(folder, file), { recursive: true });
    },
  };
}

test.each(["a create", "forks"] as const)(
  "nothing stays of %s whose client hears of a failure because the disk did not take that it was told",
  async (what) => {
    const world = await MsbWorld.make();
    const { sandboxes } = world.backend;
    const service = new SandboxService(sandboxes, undefined, 1_500);
    const source = await running(world, "source");
    await world.boots("hang");
    const { spec, slug, owner } = wanted("box");
    const refused =
      what === "forks"
        ? service.fork(source, { names: ["box", "other"], inherit: new Set() }, stays)
        : service.create({ spec, slug, owner, start: true, waitMs: 1_500, clientGone: stays });
    const outcome = refused.then(
      () => "told of",
      () => "refused",
    );
    const { ids, release } = await blockRecords(world, what === "forks" ? 2 : 1);
    expect(await outcome).toBe("refused");
    for (const id of ids) expect(await sandboxes.get({ id }, {})).toBeUndefined();
    release();
    await world.boots("well");
    await until(() => ids.every((id) => !world.has(id, "status")), "their removal");
    // The name and the room are free again.
    expect((await running(world, "box")).status).toBe("running");
  },
);
