import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { boundedResolved, RESOLVED_BYTES } from "../../../docker/gateway/src/sandboxes/resolved";
import { TestGateway } from "./harness";

const LARGE = JSON.stringify("x".repeat(1_000_000));

/** The records of all sandboxes, as they are on disk. */
const recordsOf = (home: string) => {
  const folder = join(home, "gateway", "sandboxes");
  return readdirSync(folder).map((name) => join(folder, name));
};

test("what an image says of itself is kept in part: in answers, in records, and in records of older servers", async () => {
  const gateway = await TestGateway.start();
  await gateway.create("first");
  writeFileSync(join(gateway.home, "fake", "image-cmd"), `[${LARGE}]`);
  const { body } = await gateway.create("box", { runtime: { cmd: ["its", "own"] } });
  const seen = await gateway.get(`/v1/sandboxes/${body.id}`);
  // What the client wanted stands in for it, and what is small is there.
  expect(seen.body.spec.runtime).toMatchObject({ cmd: ["its", "own"], workdir: "/image" });
  const [record = ""] = recordsOf(gateway.home).filter((path) => path.includes(body.id));
  expect(statSync(record).size).toBeLessThan(2 * RESOLVED_BYTES);
  await gateway.close();
  // As a server before this one left it.
  const old = JSON.parse(readFileSync(record, "utf8"));
  writeFileSync(record, JSON.stringify({ ...old, resolved: { ...old.resolved, cmd: [JSON.parse(LARGE)] } }));
  const next = await TestGateway.start({}, gateway.home);
  const page = await next.get("/v1/sandboxes");
  expect(page.body.data).toHaveLength(2);
  expect(JSON.stringify(page.body).length).toBeLessThan(4 * RESOLVED_BYTES);
});

test("whatever it says, it fits, and only what does not fit is left out", () => {
  const text = fc.oneof(fc.constant(null), fc.string(), fc.string({ minLength: 5_000, maxLength: 40_000 }));
  const texts = fc.option(fc.array(fc.string(), { maxLength: 5_000 }));
  const configuration = fc.record({
    ...{ reference: fc.string(), vcpus: fc.constant(1), memoryMib: fc.constant(64) },
    ...{ workdir: text, shell: text, user: text, entrypoint: texts, cmd: texts },
    labels: fc.dictionary(fc.string(), fc.string()),
  });
  fc.assert(
    fc.property(configuration, (given) => {
      const { resolved, leftOut } = boundedResolved(given);
      expect(Buffer.byteLength(JSON.stringify(resolved))).toBeLessThan(RESOLVED_BYTES + 200);
      if (leftOut.length === 0) expect(resolved).toEqual(given);
      else expect(Buffer.byteLength(JSON.stringify(given))).toBeGreaterThan(RESOLVED_BYTES);
    }),
    { numRuns: 50 },
  );
});
