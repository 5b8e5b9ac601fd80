import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { ServiceError } from "../../errors";
import type { createVolumeBody, VolumeBody } from "../../http/schema/volume";
import type { SandboxSpec } from "../../sandboxes/spec";
import type { VolumeFiles } from "../../sandboxes/volume-files";
import { type Msb, MsbError } from "./command-line";
import type { RecordStore } from "./record-store";
import type { SandboxRegistry } from "./sandbox-registry";
import type { VolumeFileStore } from "./volume-files/store";
import type { VolumeRecord } from "./volume-record";

/** The shared volume that is always there: the server's own workspace. */
const DEFAULT_ID = "00000000-0000-4000-8000-000000000002";

const listed = z.array(
  z.object({
    name: z.string(),
    kind: z.string(),
    created_at: z.string(),
    used_bytes: z.number().nullish(),
    capacity_bytes: z.number().nullish(),
  }),
);
type Listed = z.infer<typeof listed>[number];

export type VolumesOptions = { home: string; workspace: string; files: VolumeFileStore };

/** Named volumes: msb keeps them, the records add ids and labels. */
export class Volumes {
  constructor(
    private readonly msb: Msb,
    private readonly store: RecordStore<VolumeRecord>,
    private readonly sandboxes: SandboxRegistry,
    private readonly options: VolumesOptions,
  ) {}

  /** @param owner the key whose volumes alone are meant; undefined for all, the shared one included */
  async list(owner?: string): Promise<VolumeBody[]> {
    const rows = await this.rows();
    const found = await Promise.all(rows.map(async (row) => ({ row, record: await this.recordOf(row) })));
    const bodies = found
      .filter(({ record }) => owner === undefined || record.owner === owner)
      .map(({ record, row }) => bodyOf(record, row));
    return owner === undefined ? [await this.defaultVolume(), ...bodies] : bodies;
  }

  /** The volume that all keys share; none where each has its own. */
  async defaultVolume(owner?: string): Promise<VolumeBody> {
    if (owner !== undefined) throw notFound("default");
    const { birthtime, mtime } = await stat(this.options.workspace);
    return {
      ...{ id: DEFAULT_ID, name: null, kind: "host", storage: "block", status: "active" },
      ...{ used_bytes: null, capacity_bytes: null, labels: {} },
      created_at: birthtime.toISOString(),
      updated_at: mtime.toISOString(),
    };
  }

  async create(
    { name, labels, capacity_gib }: z.output<typeof createVolumeBody>,
    owner: string,
  ): Promise<VolumeBody> {
    // A folder has no cap in msb: a volume with one is a disk of that size.
    const disk = capacity_gib ? ["--kind", "disk", "--size", `${capacity_gib}G`] : [];
    try {
      await this.msb.ok(["volume", "create", "--quiet", ...disk, "--name", name]);
    } catch (error) {
      throw translate(name, error);
    }
    const row = (await this.rows()).find((each) => each.name === name);
    if (!row) throw notFound(name);
    const record = { id: randomUUID(), name, labels, createdAt: row.created_at, owner };
    const old = this.byName(name);
    if (old) await this.store.delete(old.id);
    await this.store.put(record);
    return bodyOf(record, row);
  }

  async remove(id: string, owner?: string): Promise<void> {
    if (id === DEFAULT_ID && owner === undefined)
      throw new ServiceError("conflict", "the default volume can't be removed");
    const { name } = await this.find(id, owner);
    for (const record of this.sandboxes.store.all()) {
      const mounts = record.spec?.mounts ?? [];
      if (
        this.sandboxes.alive(record) &&
        mounts.some((mount) => mount.type === "named" && mount.name === name)
      )
        throw new ServiceError(
          "conflict",
          `the volume is in use by the sandbox ${JSON.stringify(record.name)}`,
        );
    }
    try {
      await this.msb.ok(["volume", "rm", "--", name]);
    } catch (error) {
      throw translate(name, error);
    }
    await this.store.delete(id);
  }

  /** @throws ServiceError volumeNotFound; unsupported for a disk */
  async files(id: string, owner?: string): Promise<VolumeFiles> {
    if (id === DEFAULT_ID && owner === undefined) return this.options.files.workspace();
    const { name, kind } = await this.find(id, owner);
    if (kind !== "dir")
      throw new ServiceError(
        "unsupported",
        "the volume is a disk: its files are only to be seen in a sandbox",
      );
    return this.options.files.named(join(this.options.home, "volumes", name));
  }

  /** Whether a sandbox of that key may mount these. @throws ServiceError 404 for another key's, or one that is not there */
  async checkMounts(mounts: SandboxSpec["mounts"], owner: string): Promise<void> {
    const names = mounts.flatMap((mount) => (mount.type === "named" ? [mount.name] : []));
    if (names.length === 0) return;
    const rows = await this.rows();
    for (const name of names) {
      const row = rows.find((each) => each.name === name);
      if (!row || (await this.recordOf(row)).owner !== owner) throw notFound(name);
    }
  }

  private async find(id: string, owner?: string): Promise<Listed> {
    const known = this.store.get(id);
    const record = owner === undefined || known?.owner === owner ? known : undefined;
    const row = record && (await this.rows()).find((each) => each.name === record.name);
    if (!record || !row || row.created_at !== record.createdAt) throw notFound(id);
    return row;
  }

  private async rows(): Promise<Listed[]> {
    return listed.parse(await this.msb.json(["volume", "ls"]));
  }

  /** The record of a row; one made with msb itself gets its id now. */
  private async recordOf(row: Listed): Promise<VolumeRecord> {
    const known = this.byName(row.name);
    if (known?.createdAt === row.created_at) return known;
    if (known) await this.store.delete(known.id);
    const record = { id: randomUUID(), name: row.name, labels: {}, createdAt: row.created_at, owner: null };
    await this.store.put(record);
    return record;
  }

  private byName(name: string): VolumeRecord | undefined {
    for (const record of this.store.all()) if (record.name === name) return record;
    return undefined;
  }
}

function bodyOf(record: VolumeRecord, row: Listed): VolumeBody {
  return {
    ...{ id: record.id, name: record.name, kind: "managed", storage: "block", status: "active" },
    used_bytes: row.used_bytes ?? null,
    capacity_bytes: row.capacity_bytes ?? null,
    labels: record.labels,
    created_at: row.created_at,
    updated_at: row.created_at,
  };
}

const notFound = (which: string) => new ServiceError("volumeNotFound", `no volume ${JSON.stringify(which)}`);

const translate = (name: string, error: unknown): unknown =>
  error instanceof MsbError ? error.about({ what: "volume", name }) : error;
