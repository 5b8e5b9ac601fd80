import type { Duplex } from "node:stream";
import { isKind, ServiceError, snapshotNotFound } from "../../errors";
import type {
  Charged,
  ListQuery,
  LogEntry,
  LogQuery,
  Owner,
  Position,
  Reference,
  Sandbox,
  SandboxBackend,
  Scope,
  Volume,
  VolumeBackend,
  Wanted,
  WantedVolume,
} from "../../sandboxes/backend";
import type {
  Changes,
  KnownVolumes,
  Mirrored,
  MirroredBackend,
  NamedKind,
  VolumeReferences,
} from "../../sandboxes/changes";
import type { WantedForks } from "../../sandboxes/forks";
import { decodeCursor, encodeCursor } from "../../sandboxes/log-cursor";
import type { Modification, PlannedModification } from "../../sandboxes/modification";
import { rowFrom } from "../../sandboxes/sandbox-row";
import type {
  SnapshotBackend,
  SnapshotOperation,
  SnapshotQuery,
  SnapshotReference,
  WantedSnapshot,
} from "../../sandboxes/snapshots";
import type { Desired } from "../../sandboxes/states";
import type { FileCaller } from "../../sandboxes/volume-files";
import { Connection, type RemoteOptions } from "./connection";
import { RemoteFiles } from "./files";
import { openAgent } from "./transfers";

/** The backend of another gateway, over HTTP: what serve.ts offers. It holds nothing but connections. */
export class RemoteBackend implements MirroredBackend {
  readonly sandboxes: RemoteSandboxes;
  readonly volumes: RemoteVolumes;
  readonly snapshots: RemoteSnapshots;
  private readonly connection: Connection;

  constructor(options: RemoteOptions) {
    this.connection = new Connection(options);
    this.sandboxes = new RemoteSandboxes(this.connection);
    this.volumes = new RemoteVolumes(this.connection);
    this.snapshots = new RemoteSnapshots(this.connection);
  }

  /** A server that refuses it, as one of an older version does, is there, too. */
  ping = () =>
    this.connection
      .call("ping", [])
      .catch((error) => (isKind(error, "unsupported") ? undefined : Promise.reject(error)));
  hasName = (kind: NamedKind, name: string, scope: Scope) =>
    this.connection.call("hasName", [kind, name, scope]);
  limits = () => this.connection.call("limits", []);
  usage = (owner?: Owner) => this.connection.call("usage", [{ owner }]);
  statuses = () => this.connection.call("statuses", []);
  version = () => this.connection.call("version", []);
  readiness = () => this.connection.call("readiness", []);
  /** Its server goes on by itself, as it stops by itself. */
  resume = async () => undefined;
  drain = async () => undefined;
  close = () => this.connection.close();
  /** Makes new connections with these certificates; those that are open go on. */
  renew: Connection["renew"] = (certificates) => this.connection.renew(certificates);
}

class RemoteSandboxes implements SandboxBackend, Mirrored {
  constructor(private readonly connection: Connection) {}

  create = (wanted: Wanted) => this.connection.call("sandboxes.create", [wanted]);
  answered = (id: string) => this.connection.call("sandboxes.answered", [id]);
  get = (reference: Reference, scope: Scope) => this.connection.call("sandboxes.get", [reference, scope]);
  resolve = (id: string) => this.connection.call("sandboxes.resolve", [id]);
  list = ({ charged: _ofTheServer, ...query }: ListQuery) => this.connection.call("sandboxes.list", [query]);
  want = (id: string, desired: Desired) => this.connection.call("sandboxes.want", [id, desired]);
  resume = (id: string) => this.connection.call("sandboxes.resume", [id]);
  fork = (id: string, { names, inherit }: WantedForks) =>
    this.connection.call("sandboxes.fork", [id, { names, inherit: [...inherit] }]);
  planModification = (id: string, change: PlannedModification) =>
    this.connection.call("sandboxes.planModification", [id, change]);
  modify = (id: string, change: Modification) => this.connection.call("sandboxes.modify", [id, change]);
  watchChanges = (signal: AbortSignal) => this.connection.lines("sandboxes.watchChanges", [], signal);
  whole = (ids: readonly string[], room: number, charged?: Charged) =>
    this.connection.call("sandboxes.whole", [[...ids], room], undefined, charged);
  openAgent = (id: string, signal: AbortSignal): Promise<Duplex> => openAgent(this.connection, id, signal);

  async changes(since?: string): Promise<Changes> {
    const { changed, ...rest } = await this.connection.call("sandboxes.changes", [{ since }]);
    return { ...rest, changed: changed.map(rowFrom) };
  }

  async until(id: string, holds: (sandbox: Sandbox) => boolean, signal: AbortSignal): Promise<Sandbox> {
    const over = new AbortController();
    let last: Sandbox | undefined;
    // Before the first state there is none to resolve with: it is waited for.
    const abort = () => last && over.abort();
    signal.addEventListener("abort", abort);
    try {
      for await (const sandbox of this.connection.lines("sandboxes.until", [id], over.signal)) {
        last = sandbox;
        if (sandbox.ended || signal.aborted || holds(sandbox)) break;
      }
    } finally {
      signal.removeEventListener("abort", abort);
    }
    return last ?? this.connection.fail(new Error("no state"));
  }

  async *logs(id: string, { sources, after, signal, reader }: LogQuery): AsyncGenerator<LogEntry[]> {
    const query = { sources: [...sources], after: after && encodeCursor(after), reader };
    for await (const entries of this.connection.lines("sandboxes.logs", [id, query], signal))
      yield entries.map((entry) => ({ ...entry, cursor: cursorOf(entry.cursor) }));
  }
}

function cursorOf(text: string): LogEntry["cursor"] {
  const cursor = decodeCursor(text);
  if (!cursor) throw new ServiceError("unavailable", "the server sent an invalid log cursor");
  return cursor;
}

/** Characters of a part of a list. */
const ROOM = 256 * 1024;

class RemoteVolumes implements VolumeBackend, KnownVolumes {
  constructor(private readonly connection: Connection) {}

  known = (references: VolumeReferences, scope: Scope) =>
    this.connection.call("volumes.known", [references, scope]);
  shared = () => this.connection.call("volumes.shared", []);
  create = (wanted: WantedVolume) => this.connection.call("volumes.create", [wanted]);
  remove = (id: string, scope: Scope) => this.connection.call("volumes.remove", [id, scope]);

  /** In parts, each of which is read in a turn of its own. */
  async list(scope: Scope, charged?: Charged): Promise<Volume[]> {
    const all: Volume[] = [];
    for (let after: Position | undefined; ; ) {
      const part = await this.connection.call(
        "volumes.list",
        [scope, { after, room: ROOM }],
        undefined,
        charged,
      );
      // A server of an older version knows no parts.
      const { items, more } = Array.isArray(part) ? { items: part, more: false } : part;
      for (const item of items) all.push(item);
      const last = items.at(-1);
      if (!more || !last) return all;
      after = { createdAt: last.createdAt, id: last.id };
    }
  }

  async files(id: string, scope: Scope, caller: FileCaller): Promise<RemoteFiles> {
    const { owner, signal } = caller;
    const folder = { volume: id, scope, owner: typeof owner === "string" ? owner : null };
    await this.connection.call("files.open", [folder], signal);
    return new RemoteFiles(this.connection, folder, caller);
  }
}

class RemoteSnapshots implements SnapshotBackend {
  constructor(private readonly connection: Connection) {}

  create = (wanted: WantedSnapshot) => this.connection.call("snapshots.create", [wanted]);
  operation = (id: string, scope: Scope) => this.connection.call("snapshots.operation", [id, scope]);
  list = ({ charged, ...query }: SnapshotQuery) =>
    this.connection.call("snapshots.list", [query], undefined, charged);
  find = (reference: SnapshotReference, scope: Scope) =>
    this.connection.call("snapshots.find", [reference, scope]);
  remove = (id: string, scope: Scope) => this.connection.call("snapshots.remove", [id, scope]);

  async until(id: string, signal: AbortSignal): Promise<SnapshotOperation> {
    for await (const operation of this.connection.lines("snapshots.until", [id], signal)) return operation;
    // It is not over: how it stands.
    const operation = await this.operation(id, {});
    if (!operation) throw snapshotNotFound(id);
    return operation;
  }
}
