import type { FastifyInstance } from "fastify";
import { ServiceError } from "../errors";

/** Nesting of a body; the contract's own is below ten. Deeper ones can be read, but not written again. */
const MAX_DEPTH = 64;

/** An escape for half a surrogate pair without its other half: it can't be given to a guest as it is. */
const HALF_PAIR =
  /\\u[dD][89abAB][\da-fA-F]{2}(?!\\u[dD][c-fC-F][\da-fA-F]{2})|(?<!\\u[dD][89abAB][\da-fA-F]{2})\\u[dD][c-fC-F]/;

/** Takes JSON bodies, an empty one too; refuses what could be read but not passed on. */
export function acceptJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    const text = body as string;
    if (text === "") return done(null, undefined);
    const refused = whyRefused(text);
    if (refused) return done(new ServiceError("invalidRequest", refused));
    return parse(request, text, done);
  });
}

/** Undefined for a text that may be parsed. */
export function whyRefused(text: string): string | undefined {
  if (isTooDeep(text)) return `the body is nested more than ${MAX_DEPTH} deep`;
  // Escaped backslashes first, so that what follows one is not taken for an escape.
  if (HALF_PAIR.test(text.replaceAll("\\\\", "_")))
    return "the body holds half a character (a lone surrogate)";
  return undefined;
}

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

/** One pass over the text, as an attacker chooses the depth and a recursion would run out of stack. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (quoted) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) quoted = false;
    } else if (code === QUOTE) quoted = true;
    else if (code === OPEN || code === OPEN_LIST) {
      if (++depth > MAX_DEPTH) return true;
    } else if (code === CLOSE || code === CLOSE_LIST) depth--;
  }
  return false;
}
