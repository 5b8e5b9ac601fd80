import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { ServiceError } from "../errors";

export type BrowserGuardOptions = {
  /** Without a key, a page that reaches the server can use it: then the name that it was called by counts too. */
  devMode: boolean;
  /** Names of DNS that this server is known by, in lower case. */
  hostNames: string[];
};

/**
 * Refuses requests that a page in somebody's browser makes: the API is for programs, and the official clients send
 * none of these headers. It matters most where no key is checked, as any page can reach a loopback address:
 * - `Origin` comes with every WebSocket, every POST and every request of a script, and names the page's own site;
 * - `Sec-Fetch-Site` comes with the rest (images, forms, links) from browsers of these years;
 * - a page whose name was pointed to this server (DNS rebinding) counts as ours by both, but has that name as `Host`.
 * @throws ServiceError 403
 */
export function refuseBrowserPages(
  { headers }: Pick<FastifyRequest, "headers">,
  { devMode, hostNames }: BrowserGuardOptions,
): void {
  const { origin, host = "" } = headers;
  if (origin !== undefined && siteOf(origin) !== host.toLowerCase())
    throw forbidden("requests of web pages (with an Origin of their own) are not served");
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none")
    throw forbidden("requests of web pages (of another site) are not served");
  if (devMode && !isSafeHost(host, hostNames))
    throw forbidden(
      `this server checks no key, so it answers to IP addresses and localhost only, not to ${JSON.stringify(host)}`,
    );
}

/** Whether {@link refuseBrowserPages} would refuse the request. */
export function isOfBrowserPage(
  request: Pick<FastifyRequest, "headers">,
  options: BrowserGuardOptions,
): boolean {
  try {
    refuseBrowserPages(request, options);
    return false;
  } catch {
    return true;
  }
}

/** Whether nobody could have pointed that name here: an address, a name without a domain, or one that is ours. */
export function isSafeHost(host: string, hostNames: string[]): boolean {
  const name = host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  if (name.startsWith("[") || isIP(name) !== 0 || !name.includes(".")) return true;
  return name.endsWith(".localhost") || hostNames.includes(name);
}

function siteOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}

/** Names under which a key is sent in an address, by those who are used to it from elsewhere. */
const KEY_NAMES = /^(api[-_]?key|key|token|access[-_]?token|auth|authorization|bearer)$/i;

/** Refuses a key in the address, valid or not: addresses end in logs and histories. @throws ServiceError 400 */
export function refuseKeyInAddress(url: string): void {
  const at = url.indexOf("?");
  if (at < 0) return;
  for (const [name, value] of new URLSearchParams(url.slice(at + 1)))
    if (KEY_NAMES.test(name) || value.startsWith("msb_"))
      throw new ServiceError(
        "invalidRequest",
        "don't put an API key in the URL: URLs are logged. Send Authorization: Bearer <key>, and revoke a key that was sent in a URL",
      );
}

const forbidden = (message: string) => new ServiceError("forbidden", message);
