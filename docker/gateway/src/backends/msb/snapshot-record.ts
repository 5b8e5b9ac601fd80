import * as z from "zod";
import type { ErrorKind } from "../../errors";
import { manifestDigest, snapshotManifest } from "../../sandboxes/snapshot-manifest";
import type { Snapshot, SnapshotOperation, WantedSnapshot } from "../../sandboxes/snapshots";

const fields = z.object({
  id: z.string(),
  name: z.string(),
  /** Checked when it was made, by the bounds of then. */
  labels: z.record(z.string(), z.string()),
  owner: z.string().nullable(),
  sandboxId: z.string(),
  /**
   * - making: msb may be at it
   * - active: whole
   * - failing, failed: it came to nothing; of the first one something may be left
   * - deleting: it is no more for everybody
   */
  state: z.enum(["making", "active", "failing", "failed", "deleting"]),
  /** Id of the one whose place it takes when it is active. */
  replaces: z.string().nullable(),
  /** What it has become. */
  made: z
    .object({
      manifest: snapshotManifest,
      digest: z.string(),
      /** msb's own id of it: `snap_…`, the name of its folder. */
      artifact: z.string().regex(/^snap_[0-9a-f]{32}$/),
      sizeBytes: z.number(),
      /** Layers of the disk. */
      layers: z.number(),
    })
    .nullable(),
  failure: z
    .object({ kind: z.string().transform((kind) => kind as ErrorKind), message: z.string() })
    .nullable(),
  createdAt: z.string(),
  changedAt: z.string(),
});

/** One whose digest is not that of its manifest would break the list of every client. */
export const snapshotRecord: z.ZodType<SnapshotRecord> = fields.refine(
  ({ state, made }) => (made ? manifestDigest(made.manifest) === made.digest : state !== "active"),
  "its digest is not that of its manifest",
);
export type SnapshotRecord = z.output<typeof fields>;
export type MadeSnapshot = NonNullable<SnapshotRecord["made"]>;

export function newSnapshotRecord(
  { name, labels, owner, sandboxId }: WantedSnapshot,
  replaces: string | null,
  id: string,
): SnapshotRecord {
  const now = new Date().toISOString();
  return {
    ...{ id, name, labels, owner, sandboxId, state: "making", replaces },
    ...{ made: null, failure: null, createdAt: now, changedAt: now },
  };
}

/** The same in another state, as of now. */
export const changed = (record: SnapshotRecord, change: Partial<SnapshotRecord>): SnapshotRecord => ({
  ...record,
  ...change,
  changedAt: new Date().toISOString(),
});

/** Undefined for one that is not whole. */
export function snapshotOf(record: SnapshotRecord): Snapshot | undefined {
  const { id, name, owner, labels, sandboxId, createdAt, made } = record;
  if (record.state !== "active" || !made) return undefined;
  const { digest, manifest, sizeBytes } = made;
  return { id, name, owner, labels, sandboxId, digest, manifest, sizeBytes, createdAt };
}

/** @param begun whether msb is at it; it waits for its sandbox else */
export function operationOf(record: SnapshotRecord, begun: boolean): SnapshotOperation {
  const { id, state, failure, createdAt, changedAt } = record;
  const status =
    state === "making"
      ? begun
        ? "in_progress"
        : "queued"
      : state === "active" || state === "deleting"
        ? "succeeded"
        : "failed";
  const over = state !== "making";
  return {
    ...{ id, status, createdAt, updatedAt: changedAt, completedAt: over ? changedAt : null },
    result: snapshotOf(record) ?? null,
    error:
      status === "failed" ? (failure ?? { kind: "runtimeFailed", message: "it could not be made" }) : null,
  };
}
