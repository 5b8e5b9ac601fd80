import { createHash } from "node:crypto";
import * as z from "zod";

const sha256 = z.string().regex(/^sha256:[0-9a-f]{64}$/, "is not a SHA-256 digest");
/** The largest number of bytes that every reader of JSON holds exactly. */
const size = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

/**
 * What the contract says of a disk snapshot, schema 1. Clients compute its digest from their own reading of it and
 * refuse a list in which one differs, or has a field more or less.
 */
export const snapshotManifest = z.strictObject({
  schema: z.literal(1),
  artifact: z.literal("snapshot"),
  scope: z.literal("disk"),
  /** RFC 3339 in UTC, no zeros at the end of the fraction: {@link canonicalTime}. */
  created_at: z
    .string()
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/, "is not a canonical time"),
  parent: z.null(),
  image: z.strictObject({ ref: z.string().min(1), manifest_digest: sha256 }),
  /** Name of the sandbox, as its client called it. */
  source_sandbox: z.string().nullable(),
  state: z.strictObject({
    kind: z.literal("file"),
    format: z.enum(["raw", "qcow2"]),
    fstype: z.string().min(1),
    /** What a guest sees, as one file: `size_bytes` is the size of the disk. */
    upper: z.strictObject({
      file: z.enum(["upper.ext4", "upper.qcow2"]),
      size_bytes: size,
      integrity: z.null(),
    }),
  }),
  labels: z.record(z.string(), z.string()),
  extensions: z.strictObject({}),
  requires: z.array(z.never()).max(0),
});
export type SnapshotManifest = z.output<typeof snapshotManifest>;

/**
 * The text that is digested: no white space, fields in this order, labels by the bytes of their names. It is written by
 * hand, as an object of JavaScript has keys that look like numbers first, whatever the order that they came in.
 */
export function canonicalText(manifest: SnapshotManifest): string {
  const { schema, artifact, scope, created_at, parent, image, source_sandbox, state, labels } = manifest;
  const { kind, format, fstype, upper } = state;
  return object([
    ["schema", JSON.stringify(schema)],
    ["artifact", JSON.stringify(artifact)],
    ["scope", JSON.stringify(scope)],
    ["created_at", JSON.stringify(created_at)],
    ["parent", JSON.stringify(parent)],
    [
      "image",
      texts([
        ["ref", image.ref],
        ["manifest_digest", image.manifest_digest],
      ]),
    ],
    ["source_sandbox", JSON.stringify(source_sandbox)],
    [
      "state",
      object([
        ["kind", JSON.stringify(kind)],
        ["format", JSON.stringify(format)],
        ["fstype", JSON.stringify(fstype)],
        [
          "upper",
          object([
            ["file", JSON.stringify(upper.file)],
            ["size_bytes", JSON.stringify(upper.size_bytes)],
            ["integrity", JSON.stringify(upper.integrity)],
          ]),
        ],
      ]),
    ],
    [
      "labels",
      texts(Object.entries(labels).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))),
    ],
    ["extensions", "{}"],
    ["requires", "[]"],
  ]);
}

/** @returns for example "sha256:5b9c…" */
export const manifestDigest = (manifest: SnapshotManifest): string =>
  `sha256:${createHash("sha256").update(canonicalText(manifest)).digest("hex")}`;

const object = (fields: [name: string, json: string][]): string =>
  `{${fields.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;

const texts = (fields: [name: string, text: string][]): string =>
  object(fields.map(([name, text]) => [name, JSON.stringify(text)]));

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i;

/** A time as the manifest has it: in UTC, nanoseconds at most, no zeros at the end. @throws Error where it is none */
export function canonicalTime(time: string): string {
  const [, seconds, fraction = "", zone] = TIME.exec(time) ?? [];
  const at = Date.parse(`${seconds}${zone}`);
  if (seconds === undefined || Number.isNaN(at)) throw new Error(`${JSON.stringify(time)} is not a time`);
  const digits = fraction.slice(0, 9).replace(/0+$/, "");
  return `${new Date(at).toISOString().slice(0, 19)}${digits && `.${digits}`}Z`;
}

/** The short name that clients show of a digest: `snap_` and its first 32 digits. */
export const shortSnapshotId = (digest: string): string =>
  `snap_${digest.slice("sha256:".length).slice(0, 32)}`;

/** Names that stand for something else in a reference to a snapshot. */
const RESERVED = /^(snap_|sha256)|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether a name can't be taken for a path, a digest or an id, by msb or by a client. */
export const isSnapshotName = (name: string): boolean => !RESERVED.test(name) && !name.endsWith(".");
