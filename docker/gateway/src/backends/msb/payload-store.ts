import { mkdir, readdir, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";
import { payloadOf, type SandboxPayload, wholeSpec } from "../../sandboxes/payload";
import type { SandboxSpec } from "../../sandboxes/spec";

/**
 * What is needed to make a sandbox and never again, a file each until it is made: patches, scripts, secrets. They are
 * large, and no record and no start of the server has to hold them.
 */
export class PayloadStore {
  constructor(private readonly folder: string) {}

  /** Removes what belongs to none of these ids. */
  async open(ids: ReadonlySet<string>): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.folder))
      if (!ids.has(name.replace(/\.json$/, ""))) await unlink(join(this.folder, name));
  }

  /** On disk when it resolves; nothing is written for a spec without payload. @throws ServiceError diskFull */
  async put(id: string, spec: SandboxSpec): Promise<void> {
    const payload = payloadOf(spec);
    const { patches, scripts, secrets } = payload;
    if (patches.length === 0 && Object.keys(scripts).length === 0 && !secrets?.entries.length) return;
    await writeFileAtomically(this.path(id), JSON.stringify(payload));
  }

  /** The whole spec of a sandbox that is to be made, from what its record holds. */
  async whole(id: string, kept: SandboxSpec): Promise<SandboxSpec> {
    try {
      // It is this server's own, and was checked when it came.
      const payload: SandboxPayload = JSON.parse(await readFile(this.path(id), "utf8"));
      return wholeSpec(kept, payload);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return kept;
      throw error;
    }
  }

  delete = (id: string): Promise<void> => removeFileDurably(this.path(id));

  private path = (id: string): string => join(this.folder, `${id}.json`);
}
