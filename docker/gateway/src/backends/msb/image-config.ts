import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { SandboxSpec } from "../../sandboxes/spec";
import { canonical } from "./image-reference";
import type { SandboxRecord } from "./sandbox-record";

const words = z.array(z.string()).nullish();
const cached = z.object({
  config: z.object({
    working_dir: z.string().nullish(),
    user: z.string().nullish(),
    entrypoint: words,
    cmd: words,
    labels: z.record(z.string(), z.string()).nullish(),
  }),
});

/** File systems and the clock need not agree to the millisecond. */
const CLOCK_STEP_MS = 1_000;

/**
 * What msb makes of a spec, told from what its cache says of the image: a question to msb less before a new
 * sandbox's first output. Only for an image that was in the cache, and was not replaced, since that time: then
 * it is the one that msb used. Undefined otherwise, and where the cache has another form: then msb is asked.
 */
export async function resolvedFromCache(
  home: string,
  reference: string,
  spec: SandboxSpec,
  since: number,
): Promise<SandboxRecord["resolved"] | undefined> {
  const name = createHash("sha256").update(canonical(reference)).digest("hex");
  const path = join(home, "cache", "manifests", `${name}.json`);
  try {
    const { mtimeMs } = await stat(path);
    if (mtimeMs > since - CLOCK_STEP_MS) return undefined;
    const { config } = cached.parse(JSON.parse(await readFile(path, "utf8")));
    const { runtime, resources, labels } = spec;
    return {
      ...{ reference, vcpus: resources.vcpus, memoryMib: resources.memory_mib },
      workdir: runtime.workdir ?? (config.working_dir || null),
      shell: runtime.shell ?? "/bin/sh",
      user: runtime.user ?? (config.user || null),
      entrypoint: runtime.entrypoint ?? config.entrypoint ?? null,
      cmd: runtime.cmd ?? config.cmd ?? null,
      labels: { ...config.labels, ...labels },
    };
  } catch {
    return undefined;
  }
}
