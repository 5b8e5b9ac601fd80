import { z } from "zod";
import { optionalInteger } from "./fields";

/** What the server allows its users at most. Without a value the server's own default holds. */
export const limits = z.strictObject({
  sandboxes: optionalInteger(1, 100_000, {
    description: "Sandboxes that run at once; 1000 if not set.",
    example: "20",
  }),
  memoryMiB: optionalInteger(64, 67_108_864, {
    description: "Memory promised to all running sandboxes together; `memoryLimit` if not set.",
    example: "8192",
    unit: "MiB",
  }),
  cpus: optionalInteger(1, 4096, {
    description: "CPUs promised to all running sandboxes together; four times `cpuLimit` if not set.",
    example: "8",
    unit: "CPUs",
  }),
  sandboxMemoryMiB: optionalInteger(64, 67_108_864, {
    description: "Memory that one sandbox may ask for; `memoryMiB` if not set.",
    example: "2048",
    unit: "MiB",
  }),
  sandboxCpus: optionalInteger(1, 4096, {
    description: "CPUs that one sandbox may ask for; `cpuLimit`, but 2 at least, if not set.",
    example: "2",
    unit: "CPUs",
  }),
  bodyBytes: optionalInteger(1024, 1_073_741_824, {
    description: "Size of a request's body; 16 MiB if not set.",
    example: "1048576",
    unit: "bytes",
  }),
  requestsPerSecond: optionalInteger(1, 1_000_000, {
    description: "Requests per second with one key, bursts of twice as many aside; 500 if not set.",
    example: "100",
  }),
  connections: optionalInteger(1, 1_000_000, {
    description: "Terminals, transfers and log streams open at once with one key; 2000 if not set.",
    example: "200",
  }),
});

/** The server's variable for each limit; docker/gateway/src/config.ts reads them. */
const variables: Record<keyof z.infer<typeof limits>, string> = {
  sandboxes: "LIMIT_SANDBOXES",
  memoryMiB: "LIMIT_MEMORY_MIB",
  cpus: "LIMIT_CPUS",
  sandboxMemoryMiB: "LIMIT_SANDBOX_MEMORY_MIB",
  sandboxCpus: "LIMIT_SANDBOX_CPUS",
  bodyBytes: "LIMIT_BODY_BYTES",
  requestsPerSecond: "LIMIT_REQUESTS_PER_SECOND",
  connections: "LIMIT_CONNECTIONS",
};

/** The limits that are set, as environment of the server. */
export function limitVariables(set: z.infer<typeof limits>): Record<string, number> {
  const entries = Object.entries(set) as [keyof typeof variables, number | undefined][];
  return Object.fromEntries(
    entries.flatMap(([key, value]) => (value === undefined ? [] : [[variables[key], value]])),
  );
}
