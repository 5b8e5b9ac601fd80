import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream";

/** Headers of a registry's answer that a client of registries reads. */
const PASSED =
  /^(accept-ranges|content-(disposition|encoding|length|range|type)|date|docker-.*|etag|last-modified|link|location|oci-.*|retry-after|warning|www-authenticate)$/;

/**
 * Answers with what a registry answers: its status, the headers that a client of registries reads, its body. An answer
 * that is none ends the connection. Whatever the registry sends, nothing is thrown: these are handlers of events, where a
 * throw ends the process.
 */
export function passAnswer(asked: ClientRequest, answer: ServerResponse): void {
  asked.once("response", (response) => {
    try {
      answer.writeHead(statusOf(response), passed(response.headers));
      pipeline(response, answer, () => undefined);
    } catch {
      response.destroy();
      answer.destroy();
    }
  });
  // It speaks another protocol from here on.
  asked.once("upgrade", (_response, socket) => {
    socket.destroy();
    answer.destroy();
  });
  // Also after the first: one that nobody hears ends the process.
  asked.on("error", () => answer.destroy());
}

function statusOf({ statusCode = 0 }: IncomingMessage): number {
  if (statusCode >= 200 && statusCode <= 599) return statusCode;
  throw new RangeError(`status ${statusCode}`);
}

const passed = (headers: IncomingHttpHeaders): IncomingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => PASSED.test(name)));
