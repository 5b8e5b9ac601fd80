import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { errorText } from "../errors";
import type { Check } from "../sandboxes/backend";
import type { KubernetesApi, Log, WatchEvent } from "./api";

export type WatchOptions<T> = {
  api: KubernetesApi;
  /** What errors call it, for example "the Secret keys". */
  title: string;
  /** Path of the objects of its kind in its namespace. */
  collection: string;
  name: string;
  shape: z.ZodType<T>;
  /** Takes it as it is, and undefined while there is none. Where that fails it is called again. */
  use: (object: T | undefined) => Promise<void> | void;
  log: Log;
};

/** Milliseconds before the API is asked again: at first, and at most. */
const [FIRST_PAUSE_MS, MOST_PAUSE_MS] = [50, 2_000];
/** Milliseconds after which a watch lasts: then the next failure is the first one. */
const LASTS_MS = 1_000;

const listShape = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  items: z.array(z.unknown()).max(1),
});
const failureShape = z.object({ message: z.string() });

/**
 * Follows one object. Whenever a watch ends, for whatever reason, the object is listed again: nothing is missed, and what
 * is told is never older than what was told before. While the API does not answer, what was told last counts.
 */
export class Watch<T> {
  private seen = false;
  private reason = "was not read yet";
  private failures = 0;

  constructor(private readonly options: WatchOptions<T>) {}

  /** Whether it was there once, and why not. */
  check = (): Check =>
    this.seen ? { ok: true } : { ok: false, reason: `${this.options.title} ${this.reason}` };

  /** Goes on until the signal aborts. Never rejects. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.once(signal).catch((error) => signal.aborted || this.failed(error));
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(this.failures, 10), MOST_PAUSE_MS);
      const options = { signal, ref: false };
      await sleep(pause * (0.5 + Math.random() / 2), undefined, options).catch(() => undefined);
    }
  }

  /** From a list to the end of the watch that follows it. */
  private async once(signal: AbortSignal): Promise<void> {
    const { api, collection, name } = this.options;
    const path = `${collection}?fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`;
    const list = listShape.parse(await api.call({ method: "GET", path }, signal));
    await this.take(list.items[0]);
    const from = `${path}&resourceVersion=${encodeURIComponent(list.metadata.resourceVersion)}`;
    const timer = setTimeout(() => this.recovered(), LASTS_MS).unref();
    try {
      await api.watch(from, (event) => this.heard(event), signal);
    } finally {
      clearTimeout(timer);
    }
  }

  private async heard({ type, object }: WatchEvent): Promise<void> {
    if (type === "BOOKMARK") return;
    // For example 410: what was to be resumed is forgotten.
    if (type === "ERROR") throw new Error(failureShape.parse(object).message);
    await this.take(type === "DELETED" ? undefined : object);
  }

  private async take(object: unknown): Promise<void> {
    await this.options.use(object === undefined ? undefined : this.options.shape.parse(object));
    if (object === undefined) this.reason = "does not exist";
    else this.seen = true;
  }

  private recovered(): void {
    if (this.failures > 0) this.options.log.info(`${this.options.title} is followed again`);
    this.failures = 0;
  }

  private failed(error: unknown): void {
    const said =
      error instanceof z.ZodError ? "is not what it is to be" : `can't be read: ${errorText(error)}`;
    this.reason = said;
    this.failures += 1;
    if (this.failures === 1)
      this.options.log.warn(
        { err: errorText(error) },
        `${this.options.title} ${said}: what was read last counts`,
      );
  }
}
