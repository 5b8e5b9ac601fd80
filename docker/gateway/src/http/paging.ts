import type { FastifyReply } from "fastify";
import * as z from "zod";
import { invalidRequest } from "../errors";
import type { Position } from "../sandboxes/scope";

/** Items of one page at most. */
export const MAX_PAGE = 500;
/** Characters of a page, made into text in one go, which must not hold the event loop. One item is always in it. */
const MAX_PAGE_TEXT = 1024 * 1024;

/** A part of a list, and whether there is more of it. */
export type Page<T extends Position> = { items: T[]; more: boolean };

/** A page as JSON, in the order of its positions, with the cursor that goes on after it. */
export function pageOf<T extends Position>({ items, more }: Page<T>, bodyOf: (item: T) => object): Buffer {
  const texts: string[] = [];
  let room = MAX_PAGE_TEXT;
  for (const item of items) {
    const text = JSON.stringify(bodyOf(item));
    room -= text.length;
    if (room < 0 && texts.length > 0) break;
    texts.push(text);
  }
  const last = items[texts.length - 1];
  const cursorAfter = last && (more || texts.length < items.length) ? writeCursor(last) : null;
  return Buffer.from(`{"data":[${texts.join(",")}],"next_cursor":${JSON.stringify(cursorAfter)}}`);
}

export const sendJson = (reply: FastifyReply, text: Buffer): FastifyReply =>
  reply.type("application/json; charset=utf-8").send(text);

const position = z.tuple([z.string(), z.string()]);

/** @throws ServiceError invalidRequest */
export function readCursor(text: string | undefined): Position | undefined {
  if (text === undefined) return undefined;
  try {
    const [createdAt, id] = position.parse(JSON.parse(Buffer.from(text, "base64url").toString("utf8")));
    return { createdAt, id };
  } catch {
    throw invalidRequest("cursor: not one of this server's");
  }
}

const writeCursor = ({ createdAt, id }: Position): string =>
  Buffer.from(JSON.stringify([createdAt, id])).toString("base64url");
