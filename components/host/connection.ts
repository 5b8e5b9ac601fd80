import { sshAddress, urlHost } from "../settings/endpoint";
import { shellQuote } from "../settings/shell";
import { localEngine } from "./local-engine";

/** How commands and the Docker provider reach a host. Holds paths only: a private key never enters the state. */
export type Connection = { kind: "local" } | SshConnection;

export interface SshConnection {
  kind: "ssh";
  user: string;
  /** Name or address; a name may be a `Host` of ~/.ssh/config. */
  address: string;
  /** Left to ~/.ssh/config, and to ssh's default, where the setting names none. */
  port?: number;
  /** Path of a private key file; the SSH agent and ~/.ssh/config are used when it is left out. */
  identityFile?: string;
  /** Path of a known_hosts file; the user's own is used when it is left out. */
  knownHostsFile?: string;
  /** Public keys of the host, `TYPE BASE64`, one a line: no other one is accepted, whatever known_hosts files say. */
  hostKey?: string;
}

/** `ssh://user@address[:port]` as a connection; the schema has checked the form. */
export function parseSshHost(
  url: string,
  keys: Pick<SshConnection, "identityFile" | "knownHostsFile" | "hostKey"> = {},
): Connection {
  const { username, port } = new URL(url);
  return {
    kind: "ssh",
    user: decodeURIComponent(username),
    address: sshAddress(url) ?? "",
    ...(port ? { port: Number(port) } : {}),
    ...(keys.identityFile ? { identityFile: keys.identityFile } : {}),
    ...(keys.knownHostsFile ? { knownHostsFile: keys.knownHostsFile } : {}),
    ...(keys.hostKey ? { hostKey: keys.hostKey } : {}),
  };
}

/** How to reach a host that is not emulated, from its settings. */
export function connectionOf(settings: {
  host: string;
  sshKeyFile?: string;
  sshKnownHostsFile?: string;
  sshHostKey?: string;
}): Connection {
  if (settings.host === "local") return { kind: "local" };
  const { host, sshKeyFile, sshKnownHostsFile, sshHostKey } = settings;
  return parseSshHost(host, {
    identityFile: sshKeyFile,
    knownHostsFile: sshKnownHostsFile,
    hostKey: sshHostKey,
  });
}

/**
 * Where one connection to a host is shared: a handshake costs a second on a slow host, and `up` makes dozens. The path
 * of a socket has 104 bytes at most, which a home folder can be too long for. `%i` is the user's id.
 */
const SHARED = "ControlPath=/tmp/microsandbox-%i/%C";

/** Makes the folder of the shared connections. In one that is another user's, ssh would talk to whom that user likes. */
const MAKE_SHARED_FOLDER =
  '{ mkdir -m 700 "/tmp/microsandbox-$(id -u)" 2>/dev/null; [ -O "/tmp/microsandbox-$(id -u)" ] && ' +
  '[ ! -h "/tmp/microsandbox-$(id -u)" ] || { echo "/tmp/microsandbox-$(id -u) is not a folder of this user\'s" >&2; false; }; }';

const COMMON_OPTIONS = [
  "BatchMode=yes",
  "ConnectTimeout=15",
  "StrictHostKeyChecking=yes",
  "ServerAliveInterval=15",
];

/**
 * Flags of ssh for the Docker provider: never ask, trust known hosts only. It uses a connection that our commands have
 * opened, and opens no shared one: it runs without them too, where the folder is not there.
 */
export function sshFlags(connection: Connection): string[] {
  if (connection.kind === "local") return [];
  return [...asFlags([...COMMON_OPTIONS, "ControlMaster=no", SHARED]), ...keyFlags(connection)];
}

/** Flags for ssh that name the user's choice of keys. */
export function keyFlags({ knownHostsFile, identityFile, hostKey }: SshConnection): string[] {
  const options: string[] = [];
  if (hostKey) options.push(...onlyHostKeys(hostKey.split("\n")));
  else if (knownHostsFile) options.push(`UserKnownHostsFile=${sshPath(knownHostsFile)}`);
  if (identityFile) options.push(`IdentityFile=${sshPath(identityFile)}`, "IdentitiesOnly=yes");
  return asFlags(options);
}

/**
 * Options of ssh (OpenSSH 8.5 or newer) that accept these host keys only. Not in a file: a later destroy, perhaps on another
 * machine, only has the state.
 */
function onlyHostKeys(keys: string[]): string[] {
  // ssh splits the command at spaces and replaces %H by the host.
  const lines = keys.map((key) => `"%H ${key}"`).join(" ");
  return [
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
    `KnownHostsCommand=/usr/bin/env printf "%%s\\n" ${lines}`,
  ];
}

const asFlags = (options: string[]) => options.flatMap((option) => ["-o", option]);

/**
 * Quotes a path for an ssh option: ssh splits values at spaces and expands `%h` and the like. `${` can't be escaped: ssh
 * replaces it by an environment variable.
 */
function sshPath(path: string): string {
  return `"${path.replace(/["\\]/g, "\\$&").replaceAll("%", "%%")}"`;
}

/** The address the Docker provider and the docker client are given. */
export function dockerHost(connection: Connection): string {
  if (connection.kind === "local") return localEngine();
  const port = connection.port ? `:${connection.port}` : "";
  return `ssh://${connection.user}@${urlHost(connection.address)}${port}`;
}

/** A command line for `sh -c` that runs, on the host, the shell script given on standard input. */
export function hostShell(connection: Connection, flags: string[] = []): string {
  return remoteCommand(connection, "sh -s", flags);
}

/**
 * A command line for `sh -c` that runs `command` on the host, with this machine's standard input.
 *
 * @param flags flags of ssh for this run alone
 */
export function remoteCommand(connection: Connection, command: string, flags: string[] = []): string {
  if (connection.kind === "local") return command;
  const words = [...sshWords(connection, flags), command].map(shellQuote);
  return `${MAKE_SHARED_FOLDER} && ${words.join(" ")}`;
}

/**
 * Program and arguments that run a command on the host, for a process that is started without a shell.
 *
 * @param flags flags of ssh for this run alone, like `-t` for a terminal; of no use on this machine
 */
export function hostArgv(connection: Connection, command: string[], flags: string[] = []): string[] {
  if (connection.kind === "local") return command;
  const start = ["sh", "-c", `${MAKE_SHARED_FOLDER} && exec "$@"`, "sh"];
  // ssh joins its words with spaces and hands them to a shell: each is quoted for it.
  return [...start, ...sshWords(connection, flags), ...command.map(shellQuote)];
}

/** The ssh program with all that leads to the host. */
function sshWords(connection: SshConnection, flags: string[] = []): string[] {
  const { user, address, port } = connection;
  const shared = asFlags([...COMMON_OPTIONS, "ControlMaster=auto", "ControlPersist=60", SHARED]);
  const where = [...(port ? ["-p", String(port)] : []), "--", `${user}@${address}`];
  return ["ssh", ...flags, ...shared, ...keyFlags(connection), ...where];
}

/**
 * A script that starts by setting shell variables: ssh does not pass the environment on.
 *
 * @param secrets variables of the script alone: they are not exported, so no program that it runs has them in its environment
 */
export function withVariables(
  variables: Record<string, string | number>,
  script: string,
  secrets: Record<string, string> = {},
): string {
  const assigned = (values: Record<string, string | number>) =>
    Object.entries(values).map(([name, value]) => `${name}=${shellQuote(String(value))}`);
  return [...assigned(variables).map((line) => `export ${line}`), ...assigned(secrets), script].join("\n");
}
