import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FAKE_MSB, TestGateway, temporaryFolder, until } from "./harness";

/** A gateway for one volume whose msb does what the script says before it removes one. */
async function start(beforeRemoval: string) {
  const home = temporaryFolder();
  const [msb, log] = [join(home, "msb"), join(home, "removals")];
  const removal = `echo x >>${log}\nfor folder; do :; done\nfolder=$MSB_HOME/volumes/$folder\n${beforeRemoval}`;
  writeFileSync(
    msb,
    `#!/bin/sh\nif [ "$1 $2" = "volume rm" ]; then\n${removal}\nfi\nexec ${FAKE_MSB} "$@"\n`,
  );
  chmodSync(msb, 0o755);
  const gateway = await TestGateway.start(
    { MSB_PATH: msb, LIMIT_VOLUMES: "1", LIMIT_DISK_RESERVE_MIB: "0" },
    home,
  );
  const create = (name: string) => gateway.post("/v1/volumes", { name });
  const count = async () => (await gateway.get("/v1/quotas")).body.total_volumes;
  return { gateway, create, count, tries: () => (existsSync(log) ? readFileSync(log).length / 2 : 0) };
}

test("a volume whose folders are deeper than msb can go is removed", async () => {
  // Seen of msb 0.7.11: it goes down by recursion, and ends when its stack is full.
  const { gateway, create, count } = await start(
    '[ -z "$(find "$folder" -mindepth 100 -print -quit)" ] || exit 134',
  );
  const { body } = await create("deep");
  expect((await gateway.post(`/v1/volumes/${body.id}/files/mkdir`, { path: "/a".repeat(200) })).status).toBe(
    200,
  );
  expect((await gateway.delete(`/v1/volumes/${body.id}`)).status).toBe(200);
  await until(async () => (await count()) === 0, "its end");
  expect(existsSync(join(gateway.home, "volumes", body.id))).toBe(false);
  expect((await create("next")).status).toBe(200);
});

test("a volume that can't be removed counts, and is tried again less and less often", async () => {
  const { gateway, create, count, tries } = await start(`[ ! -e "$MSB_HOME/fails" ] || exit 134`);
  const fails = join(gateway.home, "fails");
  writeFileSync(fails, "");
  const { body } = await create("stays");
  expect((await gateway.delete(`/v1/volumes/${body.id}`)).status).toBe(200);
  expect(
    (await gateway.get("/v1/volumes")).body.filter(({ name }: { name: string }) => name === "stays"),
  ).toEqual([]);
  expect([await count(), (await create("next")).status]).toEqual([1, 429]);
  const { volumes } = gateway.gateway.backend;
  const began = performance.now();
  while (tries() < 3) {
    volumes.sweep();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // At once, after one second, after two more.
  expect(performance.now() - began).toBeGreaterThan(2_000);
  rmSync(fails);
  await until(
    async () => {
      volumes.sweep();
      return (await count()) === 0;
    },
    "its end",
    15_000,
  );
  expect((await create("next")).status).toBe(200);
}, 60_000);
