import { readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import * as z from "zod";
import { isKind, ServiceError } from "../../errors";
import type { Owner } from "../../sandboxes/scope";
import { canonicalTime, manifestDigest, snapshotManifest } from "../../sandboxes/snapshot-manifest";
import { allocatedBytes } from "./allocated-bytes";
import { inTermsOf, type Msb, outputOf } from "./command-line";
import { removeMergeLeftovers } from "./merge-leftovers";
import type { CallOptions } from "./sandbox-commands";
import type { MadeSnapshot, SnapshotRecord } from "./snapshot-record";

/** The one member of each group: the head of a group that has others can't be removed. */
const MEMBER = "s";
const groupOf = (id: string) => `s-${id}`;
/** msb's own description of a snapshot, the last file of it that is written. */
const DESCRIPTOR = "snapshot.json";
const ARTIFACT = /^snap_[0-9a-f]{32}$/;

/** How long a capture waits for its turn, and how long it may take. */
const TURN_MS = 25 * 60_000;
const CAPTURE_TIMEOUT_MS = 30 * 60_000;
const COMPACT_TIMEOUT_MS = 60 * 60_000;

/** What is needed of msb's own description of a snapshot. */
const descriptor = z.object({
  image: z.object({ reference: z.string(), manifest_digest: z.string() }),
  capture: z.object({ created_at: z.string() }),
  state: z.object({
    disk_format: z.enum(["raw", "qcow2"]),
    filesystem: z.string(),
    virtual_size: z.number(),
    layers: z.array(z.unknown()).default([]),
  }),
});

/** msb's snapshots, one group each. No text of a client's is in what msb is asked for. */
export class SnapshotCommands {
  constructor(
    private readonly msb: Msb,
    private readonly home: string,
  ) {}

  /** What msb restores from. */
  selectorOf = (id: string): string => `${groupOf(id)}:${MEMBER}`;

  /** Gives work its turn among the captures; it may then call {@link capture} or {@link compact}. */
  inTurn<T>({ owner, signal }: CallOptions, work: () => Promise<T>): Promise<T> {
    return this.msb.lanes.run("captures", { owner, signal, deadlineMs: Date.now() + TURN_MS }, work);
  }

  /** Whether an owner's capture may wait for its turn. @throws ServiceError unavailable */
  checkTurn = (owner: Owner): void => this.msb.lanes.check("captures", owner);

  /** Captures the disk of a sandbox, which goes on running where it runs. For a caller that has its turn. */
  async capture(id: string, handle: string, signal: AbortSignal): Promise<void> {
    const args = ["snapshot", "create", MEMBER, "--sandbox", handle, "--group", groupOf(id)];
    const result = await this.msb.runNow(args, { signal, deadlineMs: Date.now() + CAPTURE_TIMEOUT_MS });
    told("sandbox", handle, () => outputOf(args, result));
  }

  /** What msb has made, in the words of the contract. @throws ServiceError runtimeFailed where that can't be read */
  async read({ id, labels }: SnapshotRecord, sandboxName: string): Promise<MadeSnapshot> {
    try {
      const [artifact] = await this.artifacts(id);
      if (artifact === undefined) throw new Error("there is none");
      const { image, capture, state } = descriptor.parse(
        JSON.parse(await readFile(join(artifact, DESCRIPTOR), "utf8")),
      );
      const manifest = snapshotManifest.parse({
        ...{
          schema: 1,
          artifact: "snapshot",
          scope: "disk",
          parent: null,
          labels,
          extensions: {},
          requires: [],
        },
        created_at: canonicalTime(capture.created_at),
        image: { ref: image.reference, manifest_digest: image.manifest_digest },
        source_sandbox: sandboxName,
        state: {
          ...{ kind: "file", format: state.disk_format, fstype: state.filesystem },
          upper: {
            file: state.disk_format === "raw" ? "upper.ext4" : "upper.qcow2",
            ...{ size_bytes: state.virtual_size, integrity: null },
          },
        },
      });
      const sizeBytes = await allocatedBytes(join(artifact, "layers"));
      return {
        manifest,
        digest: manifestDigest(manifest),
        artifact: basename(artifact),
        sizeBytes,
        layers: Math.max(1, state.layers.length),
      };
    } catch (cause) {
      throw new ServiceError("runtimeFailed", "msb made a snapshot that can't be read", { cause });
    }
  }

  /** Removes a snapshot, and what one that was not finished has left. One that is not there is no error. */
  async remove({ id, made }: SnapshotRecord, options: CallOptions): Promise<void> {
    if (!(await this.removeFromMsb(this.selectorOf(id), options))) {
      // Its index may have it all the same, or have got it just now from a process that was left behind: by its path it
      // is found, whether its files are there or not.
      const known = made ? [join(this.folder(id), made.artifact)] : [];
      for (const path of new Set([...(await this.artifacts(id)), ...known]))
        await this.removeFromMsb(path, options);
    }
    await rm(this.folder(id), { recursive: true, force: true });
  }

  /** Merges the layers of a stopped sandbox's disk. For a caller that has its turn. */
  async compact(handle: string): Promise<void> {
    const args = ["modify", "--compact", "--", handle];
    const result = await this.msb.runNow(args, { deadlineMs: Date.now() + COMPACT_TIMEOUT_MS });
    told("sandbox", handle, () => outputOf(args, result));
  }

  /** Removes what merges of that disk have left that were cut off; right after one. @throws Error */
  removeMergeLeftovers = (handle: string): Promise<void> => removeMergeLeftovers(this.home, handle);

  /** Paths of msb's folders of a snapshot. */
  async artifacts(id: string): Promise<string[]> {
    const names = await readdir(this.folder(id)).catch(() => []);
    return names.filter((name) => ARTIFACT.test(name)).map((name) => join(this.folder(id), name));
  }

  private folder = (id: string): string => join(this.home, "snapshots", groupOf(id));

  /** @returns whether msb had it */
  private async removeFromMsb(selector: string, options: CallOptions): Promise<boolean> {
    // Quiet it would not say why it does not.
    const args = ["snapshot", "rm", "--force", selector];
    const result = await this.msb.run(args, options);
    try {
      told("snapshot", selector, () => outputOf(args, result));
      return true;
    } catch (error) {
      if (!isKind(error, "snapshotNotFound")) throw error;
      return false;
    }
  }
}

/** msb's errors in terms of what the command was about. */
function told<T>(what: "sandbox" | "snapshot", name: string, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw inTermsOf(error, { what, name });
  }
}
