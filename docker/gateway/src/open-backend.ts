import type { FastifyBaseLogger } from "fastify";
import { listenForAdmin } from "./backends/msb/admin";
import { MsbBackend } from "./backends/msb/backend";
import { egressLimit } from "./backends/msb/egress-limit";
import type { RemoteBackend } from "./backends/remote/client";
import type { BackendServer, Certificates } from "./backends/remote/serve";
import { CertificateFiles } from "./certificate-files";
import type { Config } from "./config";
import { ConfigError } from "./errors";
import type { Metrics } from "./http/metrics";
import type { OwnerLimits } from "./limits/capacity";
import type { Backend, Owner } from "./sandboxes/backend";
import { serverLimits, sizeOfDisk } from "./server-limits";

export type OpenOptions = {
  config: Config;
  limitsOf: (owner: Owner) => OwnerLimits;
  metrics: Metrics;
  log: FastifyBaseLogger;
  unusable: (error: ConfigError) => void;
  /** Takes what is to be closed with the server; the last is closed first. */
  onClose: (close: () => Promise<void>) => void;
};

/** What runs the sandboxes: msb on this machine or, for a router, other servers. @throws ConfigError */
export const openBackend = (options: OpenOptions): Promise<Backend> =>
  options.config.SERVERS ? openServers(options, options.config.SERVERS) : openMsb(options);

/** msb on this machine, offered to routers where that is set. */
async function openMsb(options: OpenOptions): Promise<Backend> {
  const { config, limitsOf, metrics, log, unusable, onClose } = options;
  const backend = await MsbBackend.open({
    msbPath: config.MSB_PATH,
    home: config.MSB_HOME,
    workspace: config.WORKSPACE,
    kvmDevice: config.KVM_DEVICE,
    starterArchive: config.STARTER_ARCHIVE,
    autoPull: config.AUTO_PULL_IMAGES,
    egress: egressLimit(config.EGRESS, config.HOST_RANGES_FILE),
    serverNumber: config.SERVER_NUMBER,
    namesPerOwner: config.OWN_SANDBOXES,
    resume: config.RESUME_SANDBOXES,
    limits: serverLimits(config, sizeOfDisk(config.MSB_HOME)),
    limitsOf,
    reserveBytes: config.LIMIT_DISK_RESERVE_MIB * 1024 * 1024,
    warm: {
      // The trial of an upgrade starts nothing.
      kinds: config.RESUME_SANDBOXES ? config.WARM : [],
      idleSeconds: config.LIMIT_IDLE_TIMEOUT_SECONDS,
      claimed: (result, seconds) => metrics.claims.observe({ result }, seconds),
    },
    unusable,
    booted: (seconds, ok) => metrics.boots.observe({ result: ok ? "ok" : "failed" }, seconds),
    log,
  });
  onClose(() => backend.close());
  metrics.watchCommands(backend.commands);
  metrics.watchWarm(backend.warm);
  const admin = await listenForAdmin(config.MSB_HOME, {
    images: backend.images,
    readiness: backend.readiness,
  });
  onClose(async () => void admin.close());
  if (config.BACKEND_PORT) onClose((await offer(backend, config.BACKEND_PORT, options)).close);
  return backend;
}

async function offer(backend: MsbBackend, port: number, options: OpenOptions): Promise<BackendServer> {
  const { serveBackend } = await import("./backends/remote/serve");
  const { LISTEN_ADDRESS, SERVER_NUMBER: number, OWN_SANDBOXES: namesPerOwner } = options.config;
  let server: BackendServer | undefined;
  const tls = peerCertificates(options, (renewed) => server?.renew(renewed));
  const host = tls ? LISTEN_ADDRESS : "127.0.0.1";
  const identity = { number, namesPerOwner };
  server = await serveBackend(backend, { port, host, tls, identity, log: options.log });
  return server;
}

/** Other servers, reached over HTTP. They know nothing of keys. */
async function openServers(
  options: OpenOptions,
  addresses: NonNullable<Config["SERVERS"]>,
): Promise<Backend> {
  checkRouter(options.config, addresses);
  // What only a router needs is loaded by a router alone.
  const { RemoteBackend } = await import("./backends/remote/client");
  const { ServersBackend } = await import("./backends/servers/backend");
  const { MemoryNames } = await import("./backends/servers/names");
  const { Server, Servers } = await import("./backends/servers/server");
  const { config, limitsOf, onClose } = options;
  const remotes: RemoteBackend[] = [];
  const certificates = peerCertificates(options, (renewed) => {
    for (const remote of remotes) remote.renew(renewed);
  });
  const servers = addresses.map(({ number, url, serverName }) => {
    const tls = certificates && { ...certificates, serverName };
    const identity = { number, namesPerOwner: config.OWN_SANDBOXES };
    const remote = new RemoteBackend({ name: `server ${number}`, url, tls, identity });
    remotes.push(remote);
    return new Server(number, remote);
  });
  const backend = new ServersBackend({
    servers: new Servers(servers),
    names: new MemoryNames(),
    namesPerOwner: config.OWN_SANDBOXES,
    limitsOf,
  });
  onClose(() => backend.close());
  return backend;
}

/** @throws ConfigError for what would be ignored in silence */
function checkRouter(
  { BACKEND_PORT, SERVER_NUMBER, WARM, PEER_TLS_FILE }: Config,
  addresses: NonNullable<Config["SERVERS"]>,
): void {
  const others = { BACKEND_PORT, SERVER_NUMBER, WARM: WARM[0] };
  for (const [name, value] of Object.entries(others))
    if (value !== undefined)
      throw new ConfigError(
        `${name} and SERVERS: a router runs no sandboxes itself; leave ${name} out there`,
      );
  const plain = addresses.find(({ url }) => new URL(url).protocol === "http:");
  if (PEER_TLS_FILE && plain)
    throw new ConfigError(`SERVERS: ${plain.url} would not use PEER_TLS_FILE; begin it with https://`);
}

/**
 * What servers and routers know each other by; undefined where they are on one machine, and nobody else is.
 * @param renewed takes it whenever the files hold something else, too
 */
function peerCertificates(
  { config, metrics, log, onClose }: OpenOptions,
  renewed: (certificates: Certificates) => void,
): Certificates | undefined {
  const { PEER_TLS_FILE: path, PEER_CA_FILE: authorityPath } = config;
  if ((path === undefined) !== (authorityPath === undefined))
    throw new ConfigError("PEER_TLS_FILE and PEER_CA_FILE: either both are set, or neither");
  if (path === undefined) return undefined;
  let current: Certificates | undefined;
  const use = (pem: string, ca = "") => {
    current = { cert: pem, key: pem, ca };
    renewed(current);
  };
  const endsSoon = "the certificate of PEER_TLS_FILE ends soon: put another one in its place";
  const files = new CertificateFiles({ path, authorityPath, use, endsSoon, log });
  onClose(async () => files.close());
  metrics.watchPeerCertificate(files.endsAt);
  if (!current)
    throw new ConfigError(`PEER_TLS_FILE and PEER_CA_FILE: ${path} and ${authorityPath} can't be used`);
  return current;
}
