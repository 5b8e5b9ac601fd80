import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { errorText } from "../../errors";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";
import { withFirstSignal } from "../../first-signal";
import { isUp, STATES, type State } from "../../sandboxes/states";
import type { Lifecycle, LifecycleLog } from "./lifecycle";
import type { SandboxCommands } from "./sandbox-commands";
import type { Entry } from "./sandbox-index";
import { whenFree } from "./when-free";

const nameList = z.array(z.string());

/** Boots at once: each takes a CPU for a moment, and requests are served meanwhile. */
const STARTS_AT_ONCE = 8;
/** Stops at once: they wait, they don't compute. */
const STOPS_AT_ONCE = 64;
/** States that end by themselves soon, with a microVM that can be stopped cleanly. */
const ON_THE_WAY: ReadonlySet<State> = new Set(["making", "starting", "pausing", "resuming"]);
/**
 * What has run may be in: one that did not stop in time is still up in its record, until msb says that it has ended with
 * the last server's container.
 */
const RESUMABLE: ReadonlySet<State> = new Set(["stopped", "failed", "running", "paused"]);
/** Milliseconds between two questions to an msb that does not answer. */
const LOOK_AGAIN_MS = 1_000;
/** How long one boot may take before the next has its turn. */
const BOOT_WAIT_MS = 5 * 60_000;
/** Milliseconds of the deadline that are left for the stop of the server itself. */
const RESERVE_MS = 1_000;

/**
 * The sandboxes that run when the server is stopped run again after its next start, with their disks: a changed
 * setting, an upgrade, a backup or a reboot of the host ends none of them. Those that are paused, too: what their memory
 * held is gone, so they run then. After a crash nothing is started.
 */
export class Resume {
  private readonly file: string;
  /** Not started yet: a stop in the middle keeps them for the next start. */
  private waiting: Entry[] = [];
  /** Ids of those that a request stopped while the server was being stopped. */
  private readonly withdrawn = new Set<string>();
  private stopping = false;
  /** Writes of the file follow each other. */
  private writing: Promise<void> = Promise.resolve();

  constructor(
    home: string,
    private readonly lifecycle: Lifecycle,
    private readonly commands: Pick<SandboxCommands, "stopNow">,
    private readonly log: LifecycleLog,
    /** Asks msb anew what has become of its sandboxes. */
    private readonly look: () => Promise<void>,
    /** Without it nothing is started and nothing noted: what an earlier server noted waits for the next one. */
    private readonly enabled = true,
  ) {
    this.file = join(home, "gateway", "resume.json");
  }

  /**
   * Takes up what was noted, before the first request: each is "starting" until it has its turn. Each is tried once:
   * one that brings the server down is not tried for ever.
   */
  async load(): Promise<void> {
    const names = this.enabled ? await this.noted() : [];
    if (names.length === 0) return;
    await removeFileDurably(this.file);
    const { index } = this.lifecycle;
    const found = names.flatMap((name) => index.get(name) ?? index.withHandle(name) ?? []);
    const now = Date.now();
    for (const entry of found) {
      const { ephemeral, expiresAt, state, desired } = entry.record;
      const over = expiresAt !== null && Date.parse(expiresAt) <= now;
      if (ephemeral || over || desired === "removed" || !RESUMABLE.has(state)) continue;
      entry.deferred = true;
      this.lifecycle.change(entry, { desired: "running" });
      this.waiting.push(entry);
    }
    this.log.info({ sandboxes: this.waiting.length }, "starting what ran before the server was stopped");
  }

  /** Gives each its turn; a request for one goes before. Never rejects. */
  async run(): Promise<void> {
    const lanes = Array.from({ length: STARTS_AT_ONCE }, () => this.lane());
    await Promise.all(lanes).catch((error) => this.log.error({ err: errorText(error) }, "a resume failed"));
  }

  private async lane(): Promise<void> {
    for (let entry = this.waiting.shift(); entry; entry = this.waiting.shift()) {
      const late = AbortSignal.timeout(BOOT_WAIT_MS);
      await this.seen(entry, late);
      if (entry.deferred) {
        entry.deferred = false;
        this.lifecycle.drive(entry);
      }
      await settled(entry, late);
    }
  }

  /** Waits for msb's word on one whose record says that it is up. */
  private async seen(entry: Entry, late: AbortSignal): Promise<void> {
    while (entry.deferred && isUp(entry.record.state) && !late.aborted && !this.stopping)
      try {
        return await this.look();
      } catch {
        await sleep(LOOK_AGAIN_MS, undefined, { ref: false });
      }
  }

  /**
   * Notes what runs and stops it, all at once. A container that ends without this loses what guests wrote and did not
   * sync. Resolves, at the latest, at the deadline, in milliseconds since the epoch.
   */
  async stopAll(deadline: number): Promise<void> {
    this.stopping = true;
    const { index } = this.lifecycle;
    const making = [...index.all()].filter(({ record: { state } }) => ON_THE_WAY.has(state));
    // What is being made is let finish first, so that it can be stopped cleanly too.
    const half = abortAfter((deadline - Date.now()) / 2);
    await Promise.all(making.map((entry) => settled(entry, half)));
    const running = [...index.all()].filter(
      ({ holdsRoom, record: { desired } }) => holdsRoom && (desired === "running" || desired === "paused"),
    );
    // None of those has its turn any more.
    this.waiting = [];
    const ids = running.filter(({ record }) => !record.ephemeral).map(({ record }) => record.id);
    await this.note(ids).catch((error) =>
      this.log.error({ err: errorText(error) }, "they will not start again by themselves"),
    );
    const alive = [...index.all()].filter(
      ({ ended, record: { state, desired } }) => !ended && STATES[state].alive && desired !== "removed",
    );
    if (alive.length === 0) return;
    this.log.info({ sandboxes: alive.length }, "stopping the running sandboxes");
    const until = deadline - RESERVE_MS;
    // Last those that have to be waited for.
    const queue = [...alive.filter(isAlive), ...alive.filter((entry) => !isAlive(entry))];
    const lane = async () => {
      while (Date.now() < until) {
        const entry = queue.shift();
        if (!entry) return;
        await this.stop(entry, until);
      }
    };
    await Promise.all(Array.from({ length: STOPS_AT_ONCE }, lane));
    if (queue.length > 0)
      this.log.error({ sandboxes: queue.length }, "not stopped in time: unsynced writes are lost");
  }

  /** Stops one when nothing is under way with it, unless it has stopped by then. Never rejects. */
  private async stop(entry: Entry, until: number): Promise<void> {
    const stop = async () => {
      const { handle, state } = entry.record;
      if (!isAlive(entry)) return;
      await this.commands.stopNow(handle, until - Date.now(), state === "paused");
      await this.lifecycle.stoppedForRestart(entry);
    };
    const inTime = (signal: AbortSignal) =>
      whenFree(this.lifecycle, entry, { signal, check: () => undefined }, stop);
    try {
      await withFirstSignal([], inTime, until - Date.now());
    } catch (error) {
      const fields = { sandbox: entry.record.id, err: errorText(error) };
      this.log.error(fields, "did not stop in time: unsynced writes are lost");
    }
  }

  /** A client stopped it meanwhile: the next start leaves it so. That is on disk when this resolves. */
  withdraw(id: string): Promise<void> {
    this.withdrawn.add(id);
    return this.note([]);
  }

  private async note(ids: string[]): Promise<void> {
    if (!this.enabled) return;
    const write = () => this.write(ids);
    const written = this.writing.then(write, write);
    this.writing = written;
    return written;
  }

  private async write(ids: string[]): Promise<void> {
    // What an earlier stop noted and this process did not come to is still due.
    const before = await this.noted();
    const all = [...new Set([...before, ...ids])].filter((id) => !this.withdrawn.has(id));
    if (all.length === 0 && before.length === 0) return;
    await mkdir(dirname(this.file), { recursive: true, mode: 0o700 });
    await writeFileAtomically(this.file, JSON.stringify(all));
  }

  private async noted(): Promise<string[]> {
    try {
      return nameList.parse(JSON.parse(await readFile(this.file, "utf8")));
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
      if (!missing) this.log.error({ err: errorText(error) }, "could not read which sandboxes were running");
      return [];
    }
  }
}

const isAlive = ({ ended, record: { state } }: Entry): boolean =>
  !ended && (state === "running" || state === "paused");

const abortAfter = (ms: number): AbortSignal => AbortSignal.timeout(Math.max(0, Math.floor(ms)));

async function settled(entry: Entry, signal: AbortSignal): Promise<void> {
  if (!entry.settled) await entry.until(({ settled }) => settled, signal);
}
