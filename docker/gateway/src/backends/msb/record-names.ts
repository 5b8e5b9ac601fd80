import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";

/** Of a record only what tells which one is meant: whatever else its version of the gateway writes. */
const named = z
  .object({
    id: z.string(),
    name: z.string(),
    owner: z.string().nullable().default(null),
    handle: z.string().optional(),
  })
  .transform((record) => ({ ...record, handle: record.handle ?? record.name }));

/** A sandbox or a volume by all that people call it. */
export type Named = {
  id: string;
  /** What its client calls it. */
  name: string;
  /** Id of the key that made it; null for one made with msb itself. */
  owner: string | null;
  /** What msb calls it. */
  handle: string;
};

/** All that the gateway has records of. It only reads, and needs no gateway that runs. */
export async function readNames(home: string, kind: "sandboxes" | "volumes"): Promise<Named[]> {
  const found: Named[] = [];
  const folder = join(home, "gateway", kind);
  for (const file of await readdir(folder).catch(() => [])) {
    if (!file.endsWith(".json")) continue;
    // A record that goes meanwhile, or is none, names nothing.
    const text = await readFile(join(folder, file), "utf8").catch(() => "null");
    const { success, data } = named.safeParse(parsed(text));
    if (success) found.push(data);
  }
  return found;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
