import type { Random } from "./random";
import type { RawCase } from "./raw-socket";

const CRLF = "\r\n";
export const DEFAULT_VOLUME = "00000000-0000-4000-8000-000000000002";

/** What hostile requests are about. */
export type Target = { sandboxId: string };

/** Makes cases of one kind. */
export type Maker = (random: Random, target: Target) => Omit<RawCase, "kind">;

export const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** A request after which the server closes the connection. */
export function request(method: string, path: string, headers: string[], body = ""): Buffer {
  const fixed = ["Host: x", "Authorization: Bearer msb_test", "Connection: close"];
  return latin1(`${method} ${path} HTTP/1.1${CRLF}${[...fixed, ...headers].join(CRLF)}${CRLF}${CRLF}${body}`);
}

export function post(path: string, body: unknown): Buffer[] {
  const bytes = json(body);
  return [
    request("POST", path, ["Content-Type: application/json", `Content-Length: ${bytes.length}`]),
    bytes,
  ];
}

export const repeated = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_each, index) => make(index));

/** One answer at most (none where the server had closed before it was read), and that one. */
export const only =
  (status: number) =>
  (statuses: number[]): boolean =>
    statuses.length <= 1 && statuses.every((each) => each === status);

export const noSecrets = (_statuses: number[], text: string): boolean => !/root:.*:0:0:|MSB_HOME=/.test(text);
