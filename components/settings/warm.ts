import * as z from "zod";
import { settingMeta } from "./fields";

/** What an image is called, by settings. */
export const IMAGE =
  /^([a-zA-Z0-9][a-zA-Z0-9.-]*(:\d{1,5})?\/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$/;

/** Sandboxes of one kind that are booted before anybody asks for them. */
const kind = z.strictObject({
  image: z.string().regex(IMAGE),
  count: z.int().min(1).max(100),
  cpus: z.int().min(1).max(64).default(1),
  memoryMiB: z.int().min(64).max(67_108_864).default(512),
});

export const warm = z.array(kind).max(20).optional().register(settingMeta, {
  description:
    "Pre-booted sandboxes. A create request for the same image and size gets one immediately. If not set: one of `starter`, where guests have 8 GiB of memory and the server 4 CPUs; `[]` is none.",
  accepts: 'a list like [{"image":"starter","count":2,"cpus":1,"memoryMiB":512}]',
  example: '[{"image":"starter","count":2}]',
});

/** The server's variable; docker/gateway/src/config.ts reads it, and has the default. */
export function warmVariable(kinds: z.output<typeof warm>): { WARM?: string } {
  if (kinds === undefined) return {};
  const list = kinds.map(({ cpus, memoryMiB, ...kind }) => ({
    ...{ ...kind, vcpus: cpus, memoryMib: memoryMiB },
  }));
  return { WARM: JSON.stringify(list) };
}
