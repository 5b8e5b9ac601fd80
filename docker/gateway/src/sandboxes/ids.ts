import { randomUUID } from "node:crypto";

/** The most servers that ids can tell apart. */
export const MOST_SERVERS = 0x10000;

const NUMBERED = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{8}([0-9a-f]{4})$/;

/**
 * Makes ids, which are UUIDs. Those of one server among several are of version 8 (RFC 9562, section 5.8) and end in its
 * number, so that a router knows by an id alone whom to ask. Those of a single server are of version 4.
 * @param server its number; default: none
 */
export function idsOf(server?: number): () => string {
  if (server === undefined) return randomUUID;
  const number = server.toString(16).padStart(4, "0");
  return () => {
    const id = randomUUID();
    return `${id.slice(0, 14)}8${id.slice(15, -4)}${number}`;
  };
}

/** The number of the server that made an id; undefined for one that bears none. */
export function serverOf(id: string): number | undefined {
  const number = NUMBERED.exec(id)?.[1];
  return number === undefined ? undefined : Number.parseInt(number, 16);
}
