import * as z from "zod";
import { optionalInteger } from "./fields";

/** Limits that the server enforces. Without a value the server's default applies. */
export const limits = z.strictObject({
  sandboxes: optionalInteger(1, 100_000, {
    description: "Number of running sandboxes; 1000 if not set.",
    example: "20",
  }),
  totalSandboxes: optionalInteger(1, 1_000_000, {
    description: "Number of sandboxes, running or not; 10000 if not set.",
    example: "200",
  }),
  memoryMiB: optionalInteger(64, 67_108_864, {
    description:
      "Memory of all running sandboxes together. If not set, `memoryLimit` minus a reserve for the server: an eighth of it, but at least 512 MiB and at most a quarter.",
    example: "3072",
    unit: "MiB",
  }),
  cpus: optionalInteger(1, 4096, {
    description: "CPUs of all running sandboxes together; four times `cpuLimit` if not set.",
    example: "8",
    unit: "CPUs",
  }),
  sandboxMemoryMiB: optionalInteger(64, 67_108_864, {
    description: "Memory of one sandbox; `memoryMiB` if not set.",
    example: "2048",
    unit: "MiB",
  }),
  sandboxCpus: optionalInteger(1, 4096, {
    description: "CPUs of one sandbox; `cpuLimit`, but at least 2, if not set.",
    example: "2",
    unit: "CPUs",
  }),
  maxDuration: optionalInteger(0, 31_536_000, {
    description:
      "Longest lifetime of a sandbox, and its lifetime if the client sets none. It is then stopped; its disk stays. 604800 (7 days) if not set; 0 is no limit.",
    example: "86400",
    unit: "seconds",
  }),
  idleTimeout: optionalInteger(0, 31_536_000, {
    description:
      "Longest idle time of a sandbox, and its idle time if the client sets none. It is then stopped; its disk stays. 86400 (a day) if not set; 0 is no limit.",
    example: "3600",
    unit: "seconds",
  }),
  idlePause: optionalInteger(0, 31_536_000, {
    description:
      "Idle time after which a sandbox is paused, until it is next used: its memory stays, its processes stand still. 0 (never) if not set.",
    example: "600",
    unit: "seconds",
  }),
  volumes: optionalInteger(1, 100_000, {
    description: "Number of volumes; 1000 if not set.",
    example: "50",
  }),
  volumeGiB: optionalInteger(1, 16_777_216, {
    description:
      "Total GiB of all volumes: the capacity of those that have one, and the files in the others; the size of the state volume's disk if not set.",
    example: "500",
    unit: "GiB",
  }),
  snapshots: optionalInteger(1, 10_000, {
    description: "Snapshots, each a full copy of a disk; 1000 if not set.",
    example: "40",
  }),
  imageGiB: optionalInteger(1, 16_777_216, {
    description:
      "Disk space for cached images: before a pull that would exceed it, the least recently used ones are removed. Half of the state volume's disk if not set.",
    example: "100",
    unit: "GiB",
  }),
  uploadBytes: optionalInteger(1, 17_592_186_044_416, {
    description: "Size of one file uploaded to a volume; 17179869184 (16 GiB) if not set.",
    example: "1073741824",
    unit: "bytes",
  }),
  uploads: optionalInteger(1, 100_000, {
    description: "Concurrent uploads of all keys; one key gets at most half of them. 256 if not set.",
    example: "32",
  }),
  diskReserveMiB: optionalInteger(0, 1_048_576, {
    description:
      "Free disk space, at most a tenth of the disk, below which creates, pulls and uploads are refused; 1024 if not set.",
    example: "4096",
    unit: "MiB",
  }),
  bodyBytes: optionalInteger(1024, 1_073_741_824, {
    description: "Size of a request body; 2 MiB if not set.",
    example: "1048576",
    unit: "bytes",
  }),
  requestsPerSecond: optionalInteger(1, 1_000_000, {
    description: "Requests per second of one key, with bursts of up to twice as many; 500 if not set.",
    example: "100",
  }),
  connections: optionalInteger(1, 1_000_000, {
    description: "Open terminals, transfers and log streams of one key; 2000 if not set.",
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
  idlePause: "LIMIT_IDLE_PAUSE_SECONDS",
  volumes: "LIMIT_VOLUMES",
  volumeGiB: "LIMIT_VOLUME_GIB",
  snapshots: "LIMIT_SNAPSHOTS",
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
