import * as z from "zod";
import { flag, settingMeta } from "./fields";
import { limits } from "./limits";

/** The id of the key in `apiKey`. */
export const DEFAULT_KEY = "default";

/** What an id is made of: it appears in logs and file names of nobody. */
export const KEY_ID = /^[A-Za-z0-9][\w.-]{0,63}$/;

/** What one key may have of the server's limits. */
export const keyLimits = limits.pick({
  sandboxes: true,
  totalSandboxes: true,
  memoryMiB: true,
  cpus: true,
  volumes: true,
  volumeGiB: true,
  snapshots: true,
  requestsPerSecond: true,
  connections: true,
});

const time = z.iso.datetime({
  offset: true,
  error: "a date needs a time and an offset, like 2027-01-31T00:00:00Z",
});

/** A key as the configuration holds it: all but the key itself. */
const key = z
  .strictObject({
    id: z.string().regex(KEY_ID),
    /** `sha256:` and 64 hexadecimal digits. */
    hash: z.string().regex(/^sha256:[0-9a-f]{64}$/),
    created: time.optional(),
    /** When it stops being taken; never, if not set. */
    expires: time.optional(),
    /** Whether it is the predecessor of the key with the same id, and taken until it expires. */
    replaced: z.boolean().optional(),
    limits: keyLimits.optional(),
    /** Whether it may read the metrics of the whole server where keys see nothing of each other. */
    metrics: z.boolean().optional(),
  })
  .superRefine(({ id, expires, replaced }, context) => {
    if (replaced && !expires) fail(context, ["expires"], "a replaced key needs expires");
    if (id === DEFAULT_KEY && !replaced) fail(context, ["id"], "that is the id of apiKey");
  });

export type ConfiguredKey = z.infer<typeof key>;

/** All keys but `apiKey`. */
export const keys = z
  .array(key)
  .superRefine((all, context) => {
    const current = all.map(({ id, replaced }) => (replaced ? undefined : id));
    for (const [index, id] of current.entries())
      if (id !== undefined && current.indexOf(id) < index)
        fail(context, [index, "id"], "there is a key with that id");
  })
  .prefault([])
  .register(settingMeta, {
    description: "More API keys, stored as hashes; a secret. Managed by `npm run keys`.",
    accepts: "a list as `npm run keys -- add` writes it",
    example: `[{"id":"ci","hash":"sha256:${"0".repeat(64)}"}]`,
  });

export const isolateByKey = flag(
  false,
  "Separate API keys from each other: only the key that created a sandbox or volume can see and use it.",
);

function fail(context: z.RefinementCtx, path: PropertyKey[], message: string): void {
  context.addIssue({ code: "custom", path, message });
}
