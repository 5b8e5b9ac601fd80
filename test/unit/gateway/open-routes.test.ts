import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { KeyCheck } from "../../../docker/gateway/src/keys/key-check";
import { KeyFile } from "../../../docker/gateway/src/keys/key-file";
import { writeKeyFile } from "../../harness/key-file";
import { temporaryFolder } from "./harness";
import { bearer, withKeys } from "./with-keys";

test("askers for readiness and versions share the looks at what they tell, with a key and without", async () => {
  const { gateway } = await withKeys([{ id: "ann", key: "ann" }]);
  const { backend } = gateway.gateway;
  const looks = [vi.spyOn(backend, "readiness"), vi.spyOn(backend, "version")];
  // The clock stands still: what this machine takes must not count.
  const [real, stopped] = [performance.now, performance.now() + 10_000];
  performance.now = () => stopped;
  try {
    const ask = (path: string, key: string) => gateway.get(path, bearer(key));
    const asked = Array.from({ length: 40 }, (_, at) =>
      ask(at % 2 ? "/readyz" : "/version", at % 4 > 1 ? "ann" : "nobody's"),
    );
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(asked.map(() => 200));
    for (const each of ["/readyz", "/version"]) await ask(each, "ann");
    expect(looks.map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
    expect((await ask("/readyz", "ann")).body.checks).toMatchObject({ msb: { ok: true } });
    expect((await ask("/readyz", "nobody's")).body).toEqual({ ready: true });
    expect((await ask("/version", "ann")).body).toMatchObject({ msb: "0.7.11" });
    performance.now = () => stopped + 2_000;
    await ask("/readyz", "ann");
    await ask("/version", "ann");
    expect(looks.map(({ mock }) => mock.calls.length)).toEqual([2, 2]);
  } finally {
    performance.now = real;
  }
});

test("a key is found without a look at the others, and so are its limits", () => {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const folder = temporaryFolder();
  const lines = fc.array(
    fc.record({
      key: fc.constantFrom("k1", "k2", "k3"),
      id: fc.constantFrom("a", "b"),
      volumes: fc.integer({ min: 1, max: 9 }),
    }),
    { maxLength: 6 },
  );
  let files = 0;
  fc.assert(
    fc.property(lines, fc.constantFrom("k1", "k2", "k3"), (all, asked) => {
      const file = `${folder}/${files++}`;
      writeKeyFile(
        file,
        all.map(({ key, id, volumes }) => ({ id, key, limits: { volumes } })),
      );
      const check = new KeyCheck({ file, devMode: false, usesFile: `${file}-used`, log });
      vi.spyOn(KeyFile.prototype, "keys", "get").mockImplementation(() => {
        throw new Error("a request looks at all keys");
      });
      try {
        const found = check.recognize({ headers: bearer(asked), ip: "::1" });
        const lines = all.filter(({ key }) => key === asked);
        expect(found?.id).toBe(lines.at(-1)?.id);
        if (found) expect(found.hash).toEqual(createHash("sha256").update(asked).digest());
        for (const id of ["a", "b", "c"])
          expect(check.limitsOf(id).volumes).toBe(all.find((each) => each.id === id)?.volumes);
        expect(check.limitsOf(null)).toEqual({});
      } finally {
        vi.restoreAllMocks();
        void check.close();
      }
    }),
    { numRuns: 40 },
  );
});
