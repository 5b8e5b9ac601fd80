/** Where a client is to connect. */
export interface Endpoint {
  url: string;
  key: string;
  /** File of the authority that the server's certificate is of, where it is a private one. */
  authorityFile?: string;
}

/** What a command in a sandbox printed and how it ended. */
export interface Output {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface CreateOptions {
  /** Default: the image's. */
  workdir?: string;
  env?: Record<string, string>;
  labels?: Record<string, string>;
  /** Guest path → volume; only for clients that can mount. */
  volumes?: Record<string, string>;
}

export interface ExecOptions {
  stdin?: string;
  cwd?: string;
  env?: Record<string, string>;
}

export interface TerminalOptions {
  /** Size that the terminal gets once the script has printed a line. It begins with 24 rows, 80 columns. */
  rows: number;
  columns: number;
  /** Typed after the resize. */
  line: string;
}

export interface Listed {
  name: string;
  /** As the client words it, in lower case: running, stopped… */
  status: string;
}

/** Follows a sandbox's log. */
export interface LogFollower {
  /** Resolves once an entry contains a text. @throws if the log ends before */
  waitFor(text: string): Promise<void>;
  /** Resolves when the server has ended the log. */
  ended(): Promise<void>;
  close(): Promise<void>;
}

/** What only SDKs can: the files of a volume without a sandbox. Paths are relative to the volume. */
export interface VolumeFiles {
  write(path: string, content: string): Promise<void>;
  read(path: string): Promise<string>;
  /** Paths of the entries of a folder, sorted. */
  list(path: string): Promise<string[]>;
  mkdir(path: string): Promise<void>;
  copy(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  size(path: string): Promise<number>;
  exists(path: string): Promise<boolean>;
  removeFile(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
}

/** A snapshot as a client shows it. */
export interface Captured {
  /** Where the client shows it. */
  name?: string;
  /** What it calls it: `snap_…`. */
  id: string;
  digest: string;
  /** The server's id of it. */
  reference: string;
  /** Where the client shows them. */
  labels?: Record<string, string>;
}

/** For the clients that know snapshots in the cloud. Each checks the digest of every snapshot that it is told of. */
export interface Snapshots {
  create(name: string, sandbox: string, labels?: Record<string, string>): Promise<void>;
  list(): Promise<Captured[]>;
  /** @param called - by its name, its id, its digest or its reference */
  get(called: string): Promise<Captured>;
  /** Starts a sandbox from one; it outlives the session. */
  restore(called: string, name: string): Promise<void>;
  remove(called: string): Promise<void>;
}

/** What a server has to refuse, since it would reach the server itself. */
export type Refused = "bind mount" | "patch from a file" | "secret from the environment";

/**
 * One process of an official client. Whatever its language: a call that the client refuses or that the server
 * answers with an error rejects with a {@link ClientError} that holds the client's own words.
 */
export interface Session {
  /** Creates and starts a sandbox from the built-in image that outlives the session. */
  create(name: string, options?: CreateOptions): Promise<void>;
  /** Creates one with an option that has to be refused. */
  createRefused(name: string, refused: Refused): Promise<void>;
  exec(name: string, command: string[], options?: ExecOptions): Promise<Output>;
  /** Runs a shell script in a terminal. */
  terminal(name: string, script: string, options: TerminalOptions): Promise<Output>;
  upload(name: string, from: string, to: string): Promise<void>;
  download(name: string, from: string, to: string): Promise<void>;
  list(labels?: Record<string, string>): Promise<Listed[]>;
  /** Rejects where there is no such sandbox. */
  status(name: string): Promise<string>;
  follow(name: string): Promise<LogFollower>;
  stop(name: string): Promise<void>;
  start(name: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Runs a shell script in a sandbox that is gone afterwards. */
  ephemeral(name: string, script: string): Promise<Output>;
  createVolume(name: string): Promise<void>;
  volumes(): Promise<string[]>;
  removeVolume(name: string): Promise<void>;
  volumeFiles?(name: string): VolumeFiles;
  snapshots: Snapshots;
  /** The sandbox's id, where the client shows it. */
  identity?(name: string): Promise<string>;
  /** Whether a log opened again after its first entry goes on with the second; where the client has cursors. */
  resume?(name: string): Promise<boolean>;
  close(): Promise<void>;
}

/** An official client at a version. */
export interface Client {
  label: string;
  /** Whether it can mount a named volume when it talks to a server. */
  mounts: boolean;
  /** Whether it knows snapshots in the cloud: those from 0.7 on do. */
  snapshots: boolean;
  /** The options among the refused ones that it can send at all. */
  refused: Refused[];
  /** Starts a process of it. @param home - an empty folder for whatever it writes */
  open(endpoint: Endpoint, home: string): Promise<Session>;
}

/** Whether a client of that version knows snapshots in the cloud. */
export const knowsSnapshots = (version: string): boolean => !/^0\.[0-6]\./.test(version);

export class ClientError extends Error {
  override readonly name = "ClientError";
}

/** What makes an official client talk to a server, and keeps it off the user's own settings. */
export const clientEnvironment = ({ url, key, authorityFile }: Endpoint, home: string) => ({
  HOME: home,
  MSB_HOME: home,
  MSB_BACKEND: "cloud",
  MSB_API_URL: url,
  MSB_API_KEY: key,
  ...(authorityFile && { SSL_CERT_FILE: authorityFile }),
});
