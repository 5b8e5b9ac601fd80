import { connect } from "node:net";

/** Ways to write one address. Some lead a router to the same route, some nowhere: none may lead around the guard. */
export const SPELLINGS: Record<string, (path: string) => string> = {
  "as it is": (path) => path,
  "a letter encoded, lower case": (path) => path.replace(/[a-z]/, (c) => encoded(c).toLowerCase()),
  "a letter encoded, upper case": (path) => path.replace(/[j-oz]/, (c) => encoded(c).toUpperCase()),
  "all letters encoded": (path) => path.replace(/[a-z]/g, encoded),
  "encoded twice": (path) => path.replace(/[a-z]/, (c) => encoded(c).replace("%", "%25")),
  "a slash encoded": (path) => `/${path.slice(1).replace("/", "%2f")}`,
  "the absolute form": (path) => `http://x${path}`,
  "the absolute form, https and a user": (path) => `HTTPS://a:b@x:1${path}`,
  "a fragment": (path) => `${path}#a`,
  "a fragment before": (path) => `/healthz#${path}`,
  "a parameter": (path) => `${path};a=b`,
  "an open route's parameter": (path) => `/healthz;${path}`,
  "two slashes": (path) => `/${path}`,
  "two slashes within": (path) => path.replace(/(?<=.)\//, "//"),
  "a dot": (path) => `/.${path}`,
  "two dots": (path) => `/healthz/..${path}`,
  "two dots encoded": (path) => `/healthz/%2e%2E${path}`,
  "upper case": (path) => path.toUpperCase(),
  "a trailing slash": (path) => `${path}/`,
  "trailing dots": (path) => `${path}..`,
  "a zero": (path) => `${path}%00`,
  "a backslash": (path) => path.replace("/", "\\"),
  "a query": (path) => `${path}?start=true&wait_for=running`,
  "an open route as the query": (path) => `${path}?/healthz`,
};

const encoded = (letter: string) => `%${letter.charCodeAt(0).toString(16)}`;

export const UPGRADE = {
  ...{ connection: "Upgrade", upgrade: "websocket" },
  ...{ "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
};

export type RawRequest = { method: string; target: string; headers?: Record<string, string>; body?: unknown };

export type RawAnswer = { status: number; text: string };

let requests = 0;

/** What {@link rawAnswer} says of the status. */
export const rawStatus = async (url: string, request: RawRequest): Promise<number> =>
  (await rawAnswer(url, request)).status;

/**
 * The answer to one request, sent as these very bytes; the status is 0 where the connection was closed without an
 * answer. Each comes from an address of its own, as an address has only so many failed attempts.
 */
export function rawAnswer(
  url: string,
  { method, target, headers = {}, body }: RawRequest,
): Promise<RawAnswer> {
  const { hostname, port, host } = new URL(url);
  const text = body === undefined ? "" : JSON.stringify(body);
  const fields = {
    ...{ host, connection: "close" },
    ...(text && { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }),
    ...headers,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  requests += 1;
  const localAddress = `127.${1 + ((requests >> 14) & 63)}.${(requests >> 7) & 127}.${1 + (requests & 127)}`;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), localAddress });
    socket.write(`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n${text}`, "latin1");
    socket.once("data", (data) => {
      const text = data.toString("latin1");
      resolve({ status: Number(text.split(" ")[1]), text });
      socket.destroy();
    });
    socket.once("close", () => resolve({ status: 0, text: "" })).once("error", reject);
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer to ${method} ${target}`)));
  });
}

/** Does something for each of many, so many at a time. */
export async function forEach<T>(all: T[], atOnce: number, act: (one: T) => Promise<void>): Promise<void> {
  const rest = all.values();
  const worker = async () => {
    for (const one of rest) await act(one);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
