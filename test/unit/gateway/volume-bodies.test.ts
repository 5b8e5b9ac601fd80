import fc from "fast-check";
import { expect, test } from "vitest";
import type * as z from "zod";
import { createVolumeBody, fromToBody, pathBody } from "../../../docker/gateway/src/http/schema/volume";

/** As the official clients send them. */
const bodies: [what: string, schema: z.ZodType, body: object][] = [
  ["a volume", createVolumeBody, { name: "v", labels: {}, capacity_gib: 1 }],
  ["a volume without a cap", createVolumeBody, { name: "v", labels: { a: "b" } }],
  ["a new folder", pathBody, { path: "/d" }],
  ["a copy or a move", fromToBody, { from: "/a", to: "/b" }],
];

test.each(bodies)(
  "what is asked for %s is done or refused, and nothing of it dropped",
  (_what, schema, body) => {
    const isTaken = (extra: object) => schema.safeParse({ ...body, ...extra }).success;
    expect(isTaken({})).toBe(true);
    const key = fc.constantFrom("quota_mib", "kind", "recursive", "overwrite", "mode", "region");
    const set = fc.constantFrom<unknown>(true, 0, 1, "x", ["x"], { a: 1 });
    const unset = fc.constantFrom<unknown>(null, false, "", [], {});
    fc.assert(
      fc.property(key, set, unset, (name, value, nothing) => {
        expect([name, value, isTaken({ [name]: value })]).toEqual([name, value, false]);
        expect([name, nothing, isTaken({ [name]: nothing })]).toEqual([name, nothing, true]);
      }),
    );
  },
);
