import * as z from "zod";
import type { Limits } from "../../limits/capacity";
import { type SandboxSpec, sandboxSpec } from "../../sandboxes/spec";
import type { CreatePlan } from "./create-plan";

/** Sandboxes that are booted before anybody asks for them. */
export const warmKind = z.object({
  /** Reference of the image. */
  image: z.string().min(1),
  /** How many. */
  count: z.int().min(0).max(100),
  vcpus: z.int().min(1).max(255).default(1),
  memoryMib: z.int().min(1).default(512),
});
export type WarmKind = z.infer<typeof warmKind>;

/** Below these one more microVM is felt: MiB for all guests, and CPUs of the container. */
const ROOMY = { memoryMib: 8192, cpus: 4 };

/** Without a setting: one of the built-in image, where the server has one and room. */
export function warmByDefault(
  { memoryMib, sandboxCpus }: Pick<Limits, "memoryMib" | "sandboxCpus">,
  starterArchive: string,
): WarmKind[] {
  const hasRoom = memoryMib >= ROOMY.memoryMib && sandboxCpus >= ROOMY.cpus;
  return hasRoom && starterArchive !== "" ? [warmKind.parse({ image: "starter", count: 1 })] : [];
}

/** The name of every warm sandbox until it is claimed. */
export const UNCLAIMED = "sandbox";
/** What the official clients of 0.7 ask for where their user has set nothing but image and size. */
export const specOf = ({ image, vcpus, memoryMib }: WarmKind, idleSeconds: number): SandboxSpec =>
  sandboxSpec.parse({
    ...{ name: UNCLAIMED, reference: image, resources: { vcpus, memory_mib: memoryMib } },
    ...{ network: { strict: true }, lifecycle: { idle_timeout_secs: idleSeconds || undefined } },
  });

/**
 * All that msb is asked for, but for what a running sandbox can still be given: its name, its labels, and the end of its
 * life, which the server itself looks after.
 */
export function keyOf({ conf, args, scripts, env }: CreatePlan, digest: string): string {
  const { hostname: _name, labels: _labels, max_duration: _life, ...fixed } = conf;
  return JSON.stringify([digest, fixed, args, scripts, env]);
}
