import type { FastifyInstance } from "fastify";
import { ServiceError } from "../errors";
import "./event-loop-share";

/** Nesting of a body; the contract's own is below ten. Deeper ones can be read, but not written again. */
const MAX_DEPTH = 64;
/** Keys, texts, lists and objects of a body together: what it costs to check them is what holds up everybody else. */
const MAX_VALUES = 20_000;

/** Takes JSON bodies, an empty one too; refuses what could be read but not passed on. */
export function acceptJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    const text = body as string;
    if (text === "") return done(null, undefined);
    request.checkedSince = performance.now();
    const refused = whyRefused(text);
    if (refused) return done(new ServiceError("invalidRequest", refused));
    return parse(request, text, done);
  });
}

const [QUOTE, BACKSLASH, LETTER_U] = [0x22, 0x5c, 0x75];
const [OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Undefined for a text that may be parsed. One pass over the text, as an attacker chooses the depth and a recursion
 * would run out of stack.
 */
export function whyRefused(text: string): string | undefined {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at + 1);
      if (at === HALF_PAIR) return "the body holds half a character (a lone surrogate)";
      values++;
    } else if (code === OPEN || code === OPEN_LIST) {
      if (++depth > MAX_DEPTH) return `the body is nested more than ${MAX_DEPTH} deep`;
      values++;
    } else if (code === CLOSE || code === CLOSE_LIST) depth--;
    if (values > MAX_VALUES) return `the body holds more than ${MAX_VALUES} JSON values`;
  }
  return undefined;
}

/** An escape for half a surrogate pair without its other half: it can't be given to a guest as it is. */
const HALF_PAIR = -1;

/** Where the quote is that ends a string, or {@link HALF_PAIR}. */
function endOfString(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code !== BACKSLASH) continue;
    at++;
    if (text.charCodeAt(at) !== LETTER_U) continue;
    const unit = hexAt(text, at + 1);
    at += 4;
    if (isLow(unit)) return HALF_PAIR;
    if (!isHigh(unit)) continue;
    if (text.charCodeAt(at + 1) !== BACKSLASH || text.charCodeAt(at + 2) !== LETTER_U) return HALF_PAIR;
    if (!isLow(hexAt(text, at + 3))) return HALF_PAIR;
    at += 6;
  }
  return text.length;
}

/** Where that are no four digits the parser says so. */
const hexAt = (text: string, at: number) => Number.parseInt(text.slice(at, at + 4), 16);
const isHigh = (unit: number) => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff;
