import { z } from "zod";

const file = z.object({
  bytes: z.int(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** What it takes on a disk when it is unpacked, in bytes; not in older backups. */
  unpackedBytes: z.int().optional(),
});

/** What a backup says of itself. */
export const manifestSchema = z.object({
  /** Of the file; another one would be refused. */
  format: z.literal(1),
  createdAt: z.iso.datetime(),
  stack: z.string(),
  /** Version of microsandbox that wrote the state. @example "0.7.11" */
  version: z.string(),
  /** Processor of the host, in Docker's words: disks and images of sandboxes are made for it. */
  architecture: z.string(),
  /** Version of the Docker engine, for people. */
  engine: z.string(),
  files: z.object({ "state.tar.zst": file, "workspace.tar.zst": file }),
});

export type Manifest = z.infer<typeof manifestSchema>;
