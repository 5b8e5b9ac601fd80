import type { ErrorKind } from "../errors";
import type { Charged, Owner, Position, Scope } from "./scope";
import type { SnapshotManifest } from "./snapshot-manifest";

/** The disk of a sandbox as it was at a moment. */
export type Snapshot = {
  id: string;
  name: string;
  owner: Owner;
  labels: Record<string, string>;
  /** Id of the sandbox that it is of, which may be no more. */
  sandboxId: string;
  /** Of the manifest: what clients call it by, and check. */
  digest: string;
  manifest: SnapshotManifest;
  /** What it takes on the disk. */
  sizeBytes: number;
  /** RFC 3339: when it was asked for. */
  createdAt: string;
};

export type WantedSnapshot = {
  name: string;
  labels: Record<string, string>;
  owner: Owner;
  /** Whoever may see the sandbox may make one of it. */
  sandboxId: string;
  /** Takes the place of the one that has the name, once it is made. */
  force: boolean;
};

/** How the making of a snapshot stands. It bears the id of its snapshot. */
export type SnapshotOperation = {
  id: string;
  status: "queued" | "in_progress" | "succeeded" | "failed";
  result: Snapshot | null;
  error: { kind: ErrorKind; message: string } | null;
  /** RFC 3339. */
  createdAt: string;
  updatedAt: string;
  completedAt: string | null;
};

export type SnapshotQuery = Scope & {
  limit: number;
  after?: Position;
  /** Characters of JSON that a server answers with; there is always room for one. Default: no end. */
  room?: number;
  /** Reads what servers answer. Default: nobody counts that. */
  charged?: Charged;
};
export type SnapshotPage = { items: Snapshot[]; more: boolean };

/** How a snapshot is called: by its id, or by its name, else its digest, else the short form of that. */
export type SnapshotReference = { id: string } | { name: string };

/** Disk snapshots. What is another owner's is not there: every refusal is snapshotNotFound. */
export interface SnapshotBackend {
  /**
   * Takes the name and a place among the limits, and begins; one of a sandbox is made at a time. On disk when it
   * resolves: after a restart the operation is there, as failed where it was interrupted.
   * @throws ServiceError sandboxNotFound; conflict where it has no disk, or can't be captured as it is;
   *   snapshotNameTaken, noCapacity, diskFull, unavailable, unsupported
   */
  create(wanted: WantedSnapshot): Promise<SnapshotOperation>;
  /** One that failed is told of for some minutes, one that succeeded for as long as its snapshot is there. */
  operation(id: string, scope: Scope): Promise<SnapshotOperation | undefined>;
  /** The operation when it is over, or as it stands when the signal aborts. @throws ServiceError snapshotNotFound */
  until(id: string, signal: AbortSignal): Promise<SnapshotOperation>;
  /** In the order of {@link Position}. One that can't be read is left out. */
  list(query: SnapshotQuery): Promise<SnapshotPage>;
  find(reference: SnapshotReference, scope: Scope): Promise<Snapshot | undefined>;
  /**
   * Its name is free when this resolves, and that is on disk; its files go behind the answer. Sandboxes that were made
   * from it go on. @throws ServiceError snapshotNotFound
   */
  remove(id: string, scope: Scope): Promise<void>;
}
