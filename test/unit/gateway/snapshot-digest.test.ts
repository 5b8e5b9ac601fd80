import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  canonicalTime,
  isSnapshotName,
  manifestDigest,
  type SnapshotManifest,
  shortSnapshotId,
  snapshotManifest,
} from "../../../docker/gateway/src/sandboxes/snapshot-manifest";
import { standIn } from "./second-digest";

const hex = (digit: string) => `sha256:${digit.repeat(64)}`;

/** The example of the vendor's own tests, with its digest. */
const EXAMPLE = {
  ...{ schema: 1, artifact: "snapshot", scope: "disk", created_at: "2026-05-01T12:00:00Z", parent: null },
  image: { ref: "docker.io/library/python:3.12", manifest_digest: hex("a") },
  source_sandbox: "build-1",
  state: {
    ...{ kind: "file", format: "raw", fstype: "ext4" },
    upper: {
      ...{ file: "upper.ext4", size_bytes: 4_294_967_296 },
      integrity: { algorithm: "msb-sparse-sha256-v1", digest: hex("b") },
    },
  },
  labels: { stage: "post-pip-install", owner: "alice" },
  ...{ extensions: {}, requires: [] },
};

/** Keys that look like numbers, letters that JSON escapes or that sort otherwise in UTF-16, whatever else. */
const awkward = fc.constantFrom(
  "9",
  "10",
  "010",
  "-1",
  "1e3",
  "é",
  "\u2028",
  "\u2029",
  "😀",
  "\uffee",
  "\u{10000}",
);
const special = fc.constantFrom(
  '"',
  "\\",
  "/",
  "\u0000",
  "\b",
  "\t",
  "\n",
  "\f",
  "\r",
  "\u001f",
  "\u007f",
  "'",
  "<",
);
const text = fc
  .array(fc.oneof(awkward, special, fc.string({ unit: "binary" })), { maxLength: 5 })
  .map((parts) => parts.join(""));

const manifest: fc.Arbitrary<SnapshotManifest> = fc.record({
  ...{
    schema: fc.constant(1 as const),
    artifact: fc.constant("snapshot" as const),
    scope: fc.constant("disk" as const),
  },
  created_at: fc
    .tuple(
      fc.date({ min: new Date(0), max: new Date("2100-01-01"), noInvalidDate: true }),
      fc.nat(999_999_999),
    )
    .map(([at, nanos]) =>
      canonicalTime(`${at.toISOString().slice(0, 19)}.${String(nanos).padStart(9, "0")}Z`),
    ),
  parent: fc.constant(null),
  image: fc.record({
    ref: fc.string({ minLength: 1 }),
    manifest_digest: fc.constantFrom(hex("0"), hex("f")),
  }),
  source_sandbox: fc.option(text),
  state: fc.record({
    kind: fc.constant("file" as const),
    format: fc.constantFrom("raw" as const, "qcow2" as const),
    fstype: fc.constant("ext4"),
    upper: fc.record({
      file: fc.constantFrom("upper.ext4" as const, "upper.qcow2" as const),
      size_bytes: fc.maxSafeNat(),
      integrity: fc.constant(null),
    }),
  }),
  labels: fc.dictionary(text, text, { noNullPrototype: true }),
  extensions: fc.constant({}),
  requires: fc.constant([]),
});

describe("the digest of a manifest", () => {
  test("the test's own way to compute it finds what the vendor's finds", () => {
    expect(standIn(EXAMPLE)).toBe("sha256:5b9ca7611f40ec61fea70c1b1ac9881ed63a16091922682028222cdaef997572");
  });

  test("is what another way finds from the wire form, whatever the labels", () => {
    fc.assert(
      fc.property(manifest, (made) => {
        expect(snapshotManifest.safeParse(made).error).toBeUndefined();
        expect(manifestDigest(made)).toBe(standIn(JSON.parse(JSON.stringify(made))));
      }),
      { numRuns: 1000 },
    );
  });

  test("changes with each label, and not with their order", () => {
    fc.assert(
      fc.property(manifest, text, text, (made, key, value) => {
        const reversed = Object.fromEntries(Object.entries(made.labels).reverse());
        expect(manifestDigest({ ...made, labels: reversed })).toBe(manifestDigest(made));
        if (made.labels[key] === value || key === "__proto__") return;
        expect(manifestDigest({ ...made, labels: { ...made.labels, [key]: value } })).not.toBe(
          manifestDigest(made),
        );
      }),
    );
  });

  test.each([
    ["2026-11-26T12:34:56.120000000Z", "2026-11-26T12:34:56.12Z"],
    ["2026-11-26T12:34:56.000Z", "2026-11-26T12:34:56Z"],
    ["2026-11-26T12:34:56Z", "2026-11-26T12:34:56Z"],
    ["2026-11-26T13:34:56.5+01:00", "2026-11-26T12:34:56.5Z"],
    ["2026-11-26T00:00:00.1234567891-00:30", "2026-11-26T00:30:00.123456789Z"],
  ])("the time %s is written as %s", (given, canonical) => {
    expect(canonicalTime(given)).toBe(canonical);
  });

  test.each(["", "yesterday", "2026-13-40T99:00:00Z", "2026-11-26"])("%j is no time", (given) => {
    expect(() => canonicalTime(given)).toThrow("is not a time");
  });

  test("names that stand for something else are none", () => {
    const short = shortSnapshotId(hex("a"));
    expect(short).toBe(`snap_${"a".repeat(32)}`);
    for (const name of [short, hex("a"), "sha256", "a.", "11111111-1111-4111-8111-111111111111"])
      expect([name, isSnapshotName(name)]).toEqual([name, false]);
    for (const name of ["a", "before-upgrade", "v1.2", "asnap_"]) expect(isSnapshotName(name)).toBe(true);
  });
});
