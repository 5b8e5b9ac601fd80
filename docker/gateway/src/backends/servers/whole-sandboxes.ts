import type { Charged, ListQuery, Page, Sandbox } from "../../sandboxes/backend";
import { CompactSandbox } from "../../sandboxes/compact-sandbox";
import { CompactSpec } from "../../sandboxes/compact-spec";
import { inPlaceOf, type SandboxRow } from "../../sandboxes/sandbox-row";
import { uncharged } from "../../sandboxes/scope";
import { roomFor } from "./answer-size";
import type { Server, Servers } from "./server";

/** Characters of what is kept, and what each takes beside. */
const MOST_KEPT = 16 * 1024 * 1024;
const BESIDE = 1024;

type Kept = { sandbox: Sandbox; size: number };
/** A server's part of a page: how it answered, by id. Undefined for what it had no room for. */
type Part = (row: SandboxRow) => Sandbox | "gone" | undefined;

/** Whole sandboxes of pages of rows. What was shown last is kept within bounds, and asked for again when it changes. */
export class WholeSandboxes {
  private readonly kept = new Map<string, Kept>();
  private size = 0;

  constructor(
    private readonly servers: Servers,
    private readonly mostKept = MOST_KEPT,
  ) {}

  /**
   * A page of what there is. Of a server that does not answer it holds what was last known, be it a row. It may be shorter
   * than what is asked for, but only where more comes.
   */
  async page(query: ListQuery): Promise<Page> {
    for (let { after } = query; ; ) {
      const { rows, more } = this.servers.lists.page({ ...query, after });
      const { items, isWhole } = await this.of(rows, query.charged);
      if (items.length > 0 || !more) return { items, more: more || !isWhole };
      after = rows.at(-1);
    }
  }

  /** Those of the rows that are still there, up to the first one for which there was no room. */
  private async of(rows: SandboxRow[], charged: Charged = uncharged) {
    const unknown = new Map<Server | undefined, SandboxRow[]>();
    for (const row of rows) {
      if (this.kept.get(row.id)?.sandbox.version === row.version) continue;
      const server = this.servers.all().find(({ mirror }) => mirror.get(row.id));
      unknown.set(server, [...(unknown.get(server) ?? []), row]);
    }
    const room = roomFor(unknown.size);
    const found = new Map<SandboxRow, ReturnType<Part>>();
    const ask = async ([server, asked]: [Server | undefined, SandboxRow[]]) => {
      const part = await this.ask(server, asked, room, charged);
      for (const row of asked) found.set(row, part(row));
    };
    const known = rows.map((row) => this.kept.get(row.id)?.sandbox);
    await Promise.all([...unknown].map(ask));
    const items: Sandbox[] = [];
    for (const [at, row] of rows.entries()) {
      const item = found.has(row) ? found.get(row) : known[at];
      if (item === undefined) return { items, isWhole: false };
      if (item !== "gone") items.push(item);
    }
    return { items, isWhole: true };
  }

  private async ask(
    server: Server | undefined,
    rows: SandboxRow[],
    room: number,
    charged: Charged,
  ): Promise<Part> {
    // It has gone since.
    if (!server) return () => "gone";
    const ids = rows.map(({ id }) => id);
    try {
      const { items, looked } = await server.ask(({ backend }) =>
        backend.sandboxes.whole(ids, room, charged),
      );
      const answered = new Map<string, Sandbox>();
      for (const item of items)
        answered.set(
          item.id,
          charged(() => this.keep(item)),
        );
      const isLooked = new Set(ids.slice(0, looked));
      return ({ id }) => answered.get(id) ?? (isLooked.has(id) ? "gone" : undefined);
    } catch {
      return (row) => this.kept.get(row.id)?.sandbox ?? inPlaceOf(row);
    }
  }

  private keep(sandbox: Sandbox): Sandbox {
    const { id, version, spec } = sandbox;
    const compact = new CompactSandbox(sandbox, sandbox, version, spec && new CompactSpec(spec));
    const size = JSON.stringify({ ...compact, spec }).length + BESIDE;
    this.drop(id);
    this.kept.set(id, { sandbox: compact, size });
    this.size += size;
    for (const oldest of this.kept.keys()) {
      if (this.size <= this.mostKept) break;
      this.drop(oldest);
    }
    return compact;
  }

  private drop(id: string): void {
    this.size -= this.kept.get(id)?.size ?? 0;
    this.kept.delete(id);
  }
}
