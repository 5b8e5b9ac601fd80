import { ERROR_KINDS, type ErrorKind, ServiceError } from "../../errors";
import type { MirroredBackend } from "../../sandboxes/changes";
import type { Endings } from "./endings";

/** What is asked for is done with it. The signal aborts when whoever asked has gone. */
export type Served = { backend: MirroredBackend; endings: Endings; signal: AbortSignal };

export const CALL_PATH = "/backend/call/";
export const STREAM_PATH = "/backend/stream/";
export const READ_PATH = "/backend/files/read";
export const WRITE_PATH = "/backend/files/write";
export const AGENT_PATH = "/backend/agent";
/** The protocol that an agent's connection is upgraded to: bytes, as the agent's own socket has them. */
export const AGENT_PROTOCOL = "msb-agent";
/** Holds arguments where the body is not for them. */
export const ARGUMENTS_HEADER = "x-backend-arguments";
/** What the router takes the server for, as {@link Identity} in JSON. */
export const SERVER_HEADER = "x-backend-server";
/** Bytes of a file, as it was when it was opened. */
export const SIZE_HEADER = "x-file-size";

/** What has to be the same on both sides: else a router looks for things where they are not. */
export type Identity = {
  /** SERVER_NUMBER of the server, which its ids end in. */
  number?: number;
  /** OWN_SANDBOXES: names are for each owner by itself. */
  namesPerOwner: boolean;
};

/** @throws ServiceError unavailable where a router takes the server for another */
export function checkIdentity(own: Identity | undefined, header: string | string[] | undefined): void {
  if (!own || typeof header !== "string") return;
  const meant: Partial<Identity> = JSON.parse(header);
  const differ = (what: string, here: unknown, there: unknown, fix: string) =>
    new ServiceError(
      "unavailable",
      `the server's ${what} is ${here}, not ${there} as on the router: ${fix}`,
      {
        retryAfterSeconds: 10,
      },
    );
  const { number = "not set", namesPerOwner } = own;
  if (meant.number !== number)
    throw differ("SERVER_NUMBER", number, meant.number, "correct the number in SERVERS");
  if (meant.namesPerOwner !== namesPerOwner)
    throw differ("OWN_SANDBOXES", namesPerOwner, meant.namesPerOwner, "set it on all alike");
}

/** The one status of what was refused: the body says what it is. */
export const REFUSED = 422;

/** Milliseconds after which a stream that has nothing to tell sends an empty line. */
export const HEARTBEAT_MS = 10_000;

/** What a call is answered with, and what each line of a stream is. */
export type Answer = { result?: unknown; error?: SentError };
export type SentError = { kind: ErrorKind; message: string; retryAfterSeconds?: number; uncertain?: boolean };

export const sentError = ({ kind, message, options }: ServiceError): SentError => ({
  ...{ kind, message, retryAfterSeconds: options.retryAfterSeconds, uncertain: options.uncertain },
});

/** The error that a server has told; undefined for what is none. */
export function errorOf(value: unknown): ServiceError | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { kind, message, retryAfterSeconds, uncertain } = value as Partial<SentError>;
  if (!ERROR_KINDS.some((each) => each === kind) || typeof message !== "string") return undefined;
  return new ServiceError(kind as ErrorKind, message, {
    ...(typeof retryAfterSeconds === "number" && { retryAfterSeconds }),
    ...(uncertain === true && { uncertain }),
  });
}

export const encodeArguments = (args: unknown[]): string =>
  Buffer.from(JSON.stringify(args)).toString("base64");
