import * as z from "zod";
import { invalidSpec } from "../errors";
import type { SandboxSpec } from "./spec";

/** Bytes of {@link keptSpec} as JSON: what the server has in memory of each sandbox, and answers in lists. */
export const KEPT_BYTES = 64 * 1024;

/** What is needed to make a sandbox, and never again: its disk holds it then, or the runtime itself. */
export type SandboxPayload = {
  patches: SandboxSpec["patches"];
  scripts: SandboxSpec["runtime"]["scripts"];
  secrets: SandboxSpec["network"]["secrets"];
};

export const payloadOf = ({ patches, runtime, network }: SandboxSpec): SandboxPayload => ({
  patches,
  scripts: runtime.scripts,
  secrets: network.secrets,
});

/** The spec without its payload: what a record holds. */
export const keptSpec = (spec: SandboxSpec): SandboxSpec =>
  wholeSpec(spec, { patches: [], scripts: {}, secrets: undefined });

/** The spec of which the two are the parts. */
export const wholeSpec = (kept: SandboxSpec, { patches, scripts, secrets }: SandboxPayload): SandboxSpec => ({
  ...kept,
  patches,
  runtime: { ...kept.runtime, scripts },
  network: { ...kept.network, secrets },
});

/** @throws ServiceError invalidSpec, with the part that takes most of the room */
export function checkKept(spec: SandboxSpec): void {
  const kept = keptSpec(spec);
  const total = jsonBytes(kept);
  if (total <= KEPT_BYTES) return;
  const { runtime, network, ...rest } = kept;
  const parts = Object.entries({ ...rest, ...under("runtime", runtime), ...under("network", network) });
  const sizes = parts.map(([name, part]) => ({ name, bytes: jsonBytes(part) }));
  const largest = sizes.reduce((one, other) => (other.bytes > one.bytes ? other : one));
  throw invalidSpec(
    `${largest.name}: ${largest.bytes} bytes of the ${total} that the sandbox's configuration takes as JSON, ` +
      `patches, scripts and secrets aside; ${KEPT_BYTES} is the most`,
  );
}

const under = (name: string, parts: object) =>
  Object.fromEntries(Object.entries(parts).map(([key, part]) => [`${name}.${key}`, part]));

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? "");

const SECTIONS = ["name", "reference", "resources", "runtime", "env", "labels", "rlimits", "mounts"] as const;

/**
 * A spec as a record holds it. It was checked when the sandbox was made, by the bounds of then: one that an older
 * version took is taken for good. So a field that is new since 0.1.0 may be absent.
 */
export const storedSpec = z
  .custom<SandboxSpec>(
    (value) =>
      typeof value === "object" &&
      value !== null &&
      SECTIONS.every((section) => Object.hasOwn(value, section)),
    "is not a spec",
  )
  .transform((spec): SandboxSpec => ({ ...spec, patches: (spec.patches ?? []).map(withBase64) }));

/** Older versions kept a file's bytes as a list of numbers. */
function withBase64(patch: SandboxSpec["patches"][number]): SandboxSpec["patches"][number] {
  if (patch.type !== "file" || typeof patch.content === "string") return patch;
  return { ...patch, content: Buffer.from(patch.content as number[]).toString("base64") };
}
