import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { FastifyRequest } from "fastify";
import { ApiError } from "./errors";

/** Who asks: the name beside the key's hash in the file. */
export type KeyId = string;

type Key = { id: KeyId; hash: Buffer };

const RELOAD_MS = 2_000;

/**
 * Checks API keys. The file holds one `sha256:HEX [name]` a line, `#` starts a comment: keys
 * have 256 random bits, so one round of SHA-256 is as good as a slow hash. A changed file is
 * noticed within two seconds.
 */
export class KeyCheck {
  private keys: Key[] = [];
  private checkedAt = Number.NEGATIVE_INFINITY;
  private mtime = 0;

  constructor(private readonly options: { file: string | undefined; devMode: boolean }) {}

  /** The id of the request's key. @throws ApiError 401 */
  identify(request: Pick<FastifyRequest, "headers">): KeyId {
    const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (this.options.devMode) return "dev";
    if (!given) throw unauthorized("an API key is needed: Authorization: Bearer <key>");
    this.reload();
    const hash = createHash("sha256").update(given).digest();
    // Every key is compared, so that the time tells nothing of which one matched.
    let found: KeyId | undefined;
    for (const key of this.keys) if (timingSafeEqual(key.hash, hash)) found = key.id;
    if (!found)
      throw unauthorized(this.keys.length ? "the API key is not valid" : "this server has no API key");
    return found;
  }

  private reload(): void {
    const { file } = this.options;
    if (!file || performance.now() - this.checkedAt < RELOAD_MS) return;
    this.checkedAt = performance.now();
    try {
      const { mtimeMs } = statSync(file);
      if (mtimeMs === this.mtime) return;
      this.keys = readKeys(readFileSync(file, "utf8"));
      this.mtime = mtimeMs;
    } catch {
      // Without a readable file nobody gets in.
      this.keys = [];
      this.mtime = 0;
    }
  }
}

/** The keys of a key file; lines of another form are skipped. */
export function readKeys(text: string): Key[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*sha256:([0-9a-f]{64})(?:\s+([\w.-]{1,64}))?\s*(#.*)?$/i.exec(line);
    if (!match?.[1]) return [];
    return [{ hash: Buffer.from(match[1], "hex"), id: match[2] ?? match[1].slice(0, 8).toLowerCase() }];
  });
}

const unauthorized = (message: string) => new ApiError(401, "invalid_api_key", message);
