import { createHash } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { ServiceError } from "../errors";
import { FailedAttempts } from "./failed-attempts";
import { type Key, KeyFile, type KeyFileLog, type KeyLimits } from "./key-file";
import { KeyUse } from "./key-use";

/** How soon a changed file counts, and pipes of a key that is no more are closed. */
const TICK_MS = 500;

/** Who asks in dev mode. */
const DEV: Key = { id: "dev", hash: Buffer.alloc(0), expiresAt: Infinity, limits: {}, operator: true };

/** Why a request was refused: a label of the metrics. */
export type Refusal = "missing" | "unknown" | "expired";

type AskingRequest = Pick<FastifyRequest, "headers" | "ip">;

export type KeyCheckOptions = {
  /** The key file; without one, and without dev mode, nobody gets in. */
  file: string | undefined;
  devMode: boolean;
  /** Where the last use of each key is written down. */
  usesFile: string;
  log: KeyFileLog;
  refused?: (why: Refusal) => void;
};

/** Knows who asks. Keys come and go while the server runs; what a key holds open ends with it. */
export class KeyCheck {
  private readonly file: KeyFile | undefined;
  private readonly uses: KeyUse;
  private readonly failed = new FailedAttempts();
  private readonly held = new Map<Key, Set<() => void>>();
  private readonly timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: KeyCheckOptions) {
    const { file, devMode, usesFile, log } = options;
    this.file = file === undefined || devMode ? undefined : new KeyFile(file, log);
    this.uses = new KeyUse(usesFile);
    if (this.file) this.timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  /** The request's key. @throws ServiceError 401, or 429 to an address that had too many of them */
  identify(request: AskingRequest): Key {
    const found = this.look(request);
    if ("why" in found) throw this.refuse(request, found.why, found.message);
    this.uses.note(found.id);
    return found;
  }

  /** The request's key, or undefined without a valid one: for what is answered to everybody, and to keys in full. */
  recognize(request: AskingRequest): Key | undefined {
    const found = this.look(request);
    return "why" in found ? undefined : found;
  }

  /** The limits of the keys with that id. */
  limitsOf = (id: string | null): KeyLimits =>
    (id === null ? undefined : this.file?.withId(id))?.limits ?? {};

  /**
   * Has `end` called when the key is revoked or expires, unless the answer was called before. It is for what a
   * client holds open: a request that is under way is answered.
   */
  hold(key: Key, end: () => void): () => void {
    const ends = this.held.get(key) ?? new Set();
    this.held.set(key, ends.add(end));
    return () => {
      ends.delete(end);
      // Not the set of another hold, begun after this one's key was found to be no more.
      if (ends.size === 0 && this.held.get(key) === ends) this.held.delete(key);
    };
  }

  /** All that would end with its key. */
  get holds(): number {
    let holds = 0;
    for (const ends of this.held.values()) holds += ends.size;
    return holds;
  }

  /** Writes down what is not yet; nothing is read again afterwards. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    if (this.file) await this.uses.save(true);
  }

  private look({ headers }: AskingRequest): Key | { why: Refusal; message: string } {
    if (this.options.devMode) return DEV;
    const given = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
    if (!given) return { why: "missing", message: "an API key is needed: Authorization: Bearer <key>" };
    const hash = createHash("sha256").update(given).digest();
    // A key that was just added is taken by the first request with it.
    const key = this.file?.withHash(hash) ?? (this.reload() ? this.file?.withHash(hash) : undefined);
    if (!key) return { why: "unknown", message: this.whyUnknown() };
    if (key.expiresAt > Date.now()) return key;
    const when = new Date(key.expiresAt).toISOString();
    return { why: "expired", message: `the API key ${JSON.stringify(key.id)} expired at ${when}` };
  }

  private reload(): boolean {
    if (!this.file?.reload()) return false;
    this.uses.keep(new Set(this.file.keys.map(({ id }) => id)));
    return true;
  }

  private tick(): void {
    this.reload();
    for (const [key, ends] of this.held) {
      const now = this.file?.withHash(key.hash);
      if (now && now.expiresAt > Date.now()) continue;
      this.held.delete(key);
      this.options.log.info(
        { key: key.id, connections: ends.size },
        "the key is no more: its connections end",
      );
      for (const end of ends) end();
    }
    this.uses
      .save()
      .catch((error) => this.options.log.warn({ err: String(error) }, "the last use of keys is not written"));
  }

  private refuse({ ip }: AskingRequest, why: Refusal, message: string): ServiceError {
    this.options.refused?.(why);
    const wait = this.failed.note(ip);
    if (wait === 0) return new ServiceError("unauthenticated", message);
    const many = `${message}; this address had too many failed attempts, the next one in ${wait} s`;
    return new ServiceError("rateLimited", many, { retryAfterSeconds: wait, closeConnection: true });
  }

  private whyUnknown = (): string =>
    this.file?.size ? "the API key is not valid" : "this server has no API key";
}
