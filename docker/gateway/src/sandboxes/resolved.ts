import type { Resolved } from "./backend";

/**
 * Bytes as JSON of what is kept of an image's own configuration, for each sandbox. Whoever makes an image chooses what it
 * says of itself.
 */
export const RESOLVED_BYTES = 16 * 1024;

/** What stands for a part that is not kept. */
const UNKNOWN = {
  ...{ reference: "", workdir: null, shell: null, user: null, entrypoint: null, cmd: null },
  labels: {},
};
type Part = keyof typeof UNKNOWN;

/** The same without its largest parts where all are too large together, and which were left out. */
export function boundedResolved(resolved: Resolved): { resolved: Resolved; leftOut: Part[] } {
  const sizes = Object.keys(UNKNOWN).map((name) => {
    const part = name as Part;
    return { part, bytes: Buffer.byteLength(JSON.stringify(resolved[part]) ?? "") };
  });
  let total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  const leftOut: Part[] = [];
  for (const { part, bytes } of sizes.sort((one, other) => other.bytes - one.bytes)) {
    if (total <= RESOLVED_BYTES) break;
    leftOut.push(part);
    total -= bytes;
  }
  const unknown = Object.fromEntries(leftOut.map((part) => [part, UNKNOWN[part]]));
  return { resolved: { ...resolved, ...unknown }, leftOut };
}
