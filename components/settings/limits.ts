import * as z from "zod";
import { optionalInteger } from "./fields";

/** What the server allows its users at most. Without a value the server's own default holds. */
export const limits = z.strictObject({
  sandboxes: optionalInteger(1, 100_000, {
    description: "Sandboxes that run at once; 1000 if not set.",
    example: "20",
  }),
  totalSandboxes: optionalInteger(1, 1_000_000, {
    description: "Sandboxes in all, those that don't run too; 10000 if not set.",
    example: "200",
  }),
  memoryMiB: optionalInteger(64, 67_108_864, {
    description:
      "Memory promised to all running sandboxes together. If not set, `memoryLimit` less what the server needs: an eighth, 512 MiB at least, a quarter at most.",
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
  maxDuration: optionalInteger(0, 31_536_000, {
    description:
      "Life time of a sandbox whose client has set none, and the longest that one may set: then it is stopped, its disk stays. 604800 (7 days) if not set, 0 for none.",
    example: "86400",
    unit: "seconds",
  }),
  idleTimeout: optionalInteger(0, 31_536_000, {
    description:
      "Time without use after which a sandbox is stopped whose client has set none, and the longest that one may set. 86400 (a day) if not set, 0 for none.",
    example: "3600",
    unit: "seconds",
  }),
  volumes: optionalInteger(1, 100_000, {
    description: "Volumes; 1000 if not set.",
    example: "50",
  }),
  volumeGiB: optionalInteger(1, 16_777_216, {
    description:
      "Capacity promised to all volumes that have one together; the size of the state volume's disk if not set.",
    example: "500",
    unit: "GiB",
  }),
  imageGiB: optionalInteger(1, 16_777_216, {
    description:
      "Room that cached images may take: before a pull beyond it, those go that nobody used for the longest. Half of the state volume's disk if not set.",
    example: "100",
    unit: "GiB",
  }),
  uploadBytes: optionalInteger(1, 17_592_186_044_416, {
    description: "Size of a file that is uploaded to a volume; 17179869184 (16 GiB) if not set.",
    example: "1073741824",
    unit: "bytes",
  }),
  uploads: optionalInteger(1, 100_000, {
    description: "Uploads at once, of all keys; one key gets half of them at most. 256 if not set.",
    example: "32",
  }),
  diskReserveMiB: optionalInteger(0, 1_048_576, {
    description:
      "Free room on a disk, a tenth of it at most, below which creates and uploads are refused; 1024 if not set.",
    example: "4096",
    unit: "MiB",
  }),
  bodyBytes: optionalInteger(1024, 1_073_741_824, {
    description: "Size of a request's body; 2 MiB if not set.",
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
  totalSandboxes: "LIMIT_TOTAL_SANDBOXES",
  memoryMiB: "LIMIT_MEMORY_MIB",
  cpus: "LIMIT_CPUS",
  sandboxMemoryMiB: "LIMIT_SANDBOX_MEMORY_MIB",
  sandboxCpus: "LIMIT_SANDBOX_CPUS",
  maxDuration: "LIMIT_MAX_DURATION_SECONDS",
  idleTimeout: "LIMIT_IDLE_TIMEOUT_SECONDS",
  volumes: "LIMIT_VOLUMES",
  volumeGiB: "LIMIT_VOLUME_GIB",
  imageGiB: "LIMIT_IMAGE_GIB",
  uploadBytes: "LIMIT_UPLOAD_BYTES",
  uploads: "LIMIT_UPLOADS",
  diskReserveMiB: "LIMIT_DISK_RESERVE_MIB",
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
