import type { LogCursor } from "./backend";

/** The clients' own form of a place in a log: count, then generation and offset as 64-bit numbers. */
export function encodeCursor({ generation, offset }: LogCursor): string {
  const bytes = Buffer.alloc(17);
  bytes[0] = 1;
  bytes.writeBigUInt64LE(generation, 1);
  bytes.writeBigUInt64LE(offset, 9);
  return bytes.toString("base64");
}

/** Undefined for "from the start" (an empty cursor); null for what is no cursor. */
export function decodeCursor(text: string): LogCursor | undefined | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const bytes = Buffer.from(text, "base64");
  const count = bytes[0];
  if (count === undefined || bytes.length !== 1 + count * 16) return null;
  if (count === 0) return undefined;
  return { generation: bytes.readBigUInt64LE(1), offset: bytes.readBigUInt64LE(9) };
}
