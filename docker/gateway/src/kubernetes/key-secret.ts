import { existsSync } from "node:fs";
import * as z from "zod";
import { ConfigError, errorText } from "../errors";
import { writeFileAtomically } from "../files/atomic-file";

/** What is read of a Secret. */
export const secretShape = z.object({ data: z.record(z.string(), z.string()).default({}) });
export type Secret = z.output<typeof secretShape>;

/** Writes what a Secret holds into the key file. */
export class KeySecret {
  private written: string | undefined;

  constructor(private readonly file: string) {}

  /** No key is left: one that an earlier process wrote may have been revoked since. @throws ConfigError */
  async clear(): Promise<void> {
    await this.use(undefined).catch((error) => {
      const fix = "put it into a folder that the server can write to";
      throw new ConfigError(`KEYS_SECRET: API_KEYS_FILE can't be written: ${errorText(error)}; ${fix}`);
    });
  }

  /** Without a Secret there is no key. @throws ServiceError diskFull; Error */
  async use(secret: Secret | undefined): Promise<void> {
    const text = keysIn(secret);
    if (text === this.written && existsSync(this.file)) return;
    await writeFileAtomically(this.file, text);
    this.written = text;
  }
}

/** The lines of all entries, in the order of their names: it may have one for each key, or one for all. */
export function keysIn(secret: Secret | undefined): string {
  const entries = Object.entries(secret?.data ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([, value]) => `${Buffer.from(value, "base64").toString("utf8")}\n`).join("");
}
