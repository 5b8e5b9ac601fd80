/** What went wrong, in terms of the service. http/errors.ts turns each kind into a status and a code of the contract. */
export const ERROR_KINDS = [
  "sandboxNotFound",
  "volumeNotFound",
  "fileNotFound",
  "snapshotNotFound",
  "notFound",
  "nameTaken",
  "snapshotNameTaken",
  "invalidRequest",
  "invalidSpec",
  "invalidPath",
  /** A body, or a file, is larger than it may be. */
  "tooLarge",
  "unsupported",
  /** A change of a sandbox that this server does not make, whatever its state. */
  "modificationUnsupported",
  /** Another change of the sandbox is under way: the same one may be made later. */
  "modificationInProgress",
  /** A change that its own parts, or the state of the sandbox, stand against. */
  "modificationRefused",
  "unauthenticated",
  "forbidden",
  "conflict",
  /** A limit of the server or of the key is reached: it helps to free something. */
  "noCapacity",
  "rateLimited",
  /** The client did not send its request in time. */
  "requestTimeout",
  /** The disk is full, or its reserve would be used up. */
  "diskFull",
  /** What was asked for was not done in time. */
  "timeout",
  /** The server stops, or is overloaded: the same request may succeed later, or elsewhere. */
  "unavailable",
  /** A microVM, or the program that runs it, failed. */
  "runtimeFailed",
] as const;
export type ErrorKind = (typeof ERROR_KINDS)[number];

export type ErrorOptions = {
  /** Seconds after which the same request may succeed. */
  retryAfterSeconds?: number;
  /** The connection is closed after the answer. */
  closeConnection?: boolean;
  /** It may have been done all the same: nobody knows. */
  uncertain?: boolean;
  cause?: unknown;
};

/** A failure that was foreseen: its message is a sentence for the person who asked, and holds no secret. */
export class ServiceError extends Error {
  override name = "ServiceError";
  constructor(
    readonly kind: ErrorKind,
    message: string,
    readonly options: ErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
  }
}

export const isKind = (error: unknown, ...kinds: ErrorKind[]): error is ServiceError =>
  error instanceof ServiceError && kinds.includes(error.kind);

export const sandboxNotFound = (which: string) =>
  new ServiceError("sandboxNotFound", `no sandbox ${JSON.stringify(which)}`);

export const volumeNotFound = (which: string) =>
  new ServiceError("volumeNotFound", `no volume ${JSON.stringify(which)}`);

export const snapshotNotFound = (which: string) =>
  new ServiceError("snapshotNotFound", `no snapshot ${JSON.stringify(which)}`);

export const invalidSpec = (message: string) => new ServiceError("invalidSpec", message);

export const invalidRequest = (message: string) => new ServiceError("invalidRequest", message);

export const nameTaken = (name: string) =>
  new ServiceError("nameTaken", `a sandbox named ${JSON.stringify(name)} exists already`);

export const volumeNameTaken = (name: string) =>
  new ServiceError("nameTaken", `a volume named ${JSON.stringify(name)} exists already`);

export const snapshotNameTaken = (name: string, why = "exists already") =>
  new ServiceError("snapshotNameTaken", `a snapshot named ${JSON.stringify(name)} ${why}`);

/** Why nothing is made or started any more. */
export const serverStopping = () =>
  new ServiceError("unavailable", "the server is being stopped; try again in a moment", {
    retryAfterSeconds: 10,
  });

export const diskFull = (cause?: unknown) =>
  new ServiceError("diskFull", "the server's disk is full", { cause });

/** An error's text, without its stack. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const EXHAUSTED = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"]);

/** Whether the system had no descriptor or memory for something: it passes, and leaves what there is as it was. */
export const isExhaustion = (error: unknown): boolean =>
  error instanceof Error && EXHAUSTED.has((error as NodeJS.ErrnoException).code ?? "");

/** A mistake in the server's configuration: its message is all the user needs. */
export class ConfigError extends Error {
  override name = "ConfigError";
}
