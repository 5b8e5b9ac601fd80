import * as z from "zod";
import { MOST_SERVERS } from "../sandboxes/ids";

/** What is read of a StatefulSet. */
export const statefulSetShape = z.object({
  metadata: z.object({ name: z.string(), namespace: z.string() }),
  spec: z.object({
    replicas: z.int().min(0).default(1),
    serviceName: z.string().default(""),
    ordinals: z.object({ start: z.int().min(0).default(0) }).default({ start: 0 }),
  }),
  status: z.object({ replicas: z.int().min(0).default(0) }).default({ replicas: 0 }),
});
export type StatefulSet = z.output<typeof statefulSetShape>;

/** Where a server is, by its number. */
export type ServerAddress = { number: number; url: string; serverName: string };

/**
 * The servers that a StatefulSet's pods are or will be, whether or not they are there now; those that are to go count until
 * they have gone. The number of each is its pod's ordinal.
 * @param port their BACKEND_PORT
 * @throws Error for a set without a service, or with ordinals that no id can hold
 */
export function addressesOf({ metadata, spec, status }: StatefulSet, port: number): ServerAddress[] {
  const { name, namespace } = metadata;
  const { serviceName, ordinals } = spec;
  if (serviceName === "") throw new Error(`it has no spec.serviceName, by which its pods could be reached`);
  const count = Math.max(spec.replicas, status.replicas);
  if (ordinals.start + count > MOST_SERVERS) throw new Error(`it has an ordinal above ${MOST_SERVERS - 1}`);
  return Array.from({ length: count }, (_, at) => {
    const number = ordinals.start + at;
    const host = `${name}-${number}.${serviceName}.${namespace}.svc`;
    return { number, url: `https://${host}:${port}`, serverName: host };
  });
}
