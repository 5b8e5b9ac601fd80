import { readFileSync } from "node:fs";
import type { FastifyBaseLogger } from "fastify";
import { listenForAdmin } from "./backends/msb/admin";
import { MsbBackend } from "./backends/msb/backend";
import { egressLimit } from "./backends/msb/egress-limit";
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
  if (config.BACKEND_PORT) onClose((await offer(backend, config.BACKEND_PORT, config, log)).close);
  return backend;
}

async function offer(backend: MsbBackend, port: number, config: Config, log: FastifyBaseLogger) {
  const { serveBackend } = await import("./backends/remote/serve");
  const tls = peerCertificates(config);
  const identity = { number: config.SERVER_NUMBER, namesPerOwner: config.OWN_SANDBOXES };
  return serveBackend(backend, { port, host: tls ? config.LISTEN_ADDRESS : "127.0.0.1", tls, identity, log });
}

/** Other servers, reached over HTTP. They know nothing of keys. */
async function openServers(
  { config, limitsOf, onClose }: OpenOptions,
  addresses: NonNullable<Config["SERVERS"]>,
): Promise<Backend> {
  // What only a router needs is loaded by a router alone.
  const { RemoteBackend } = await import("./backends/remote/client");
  const { ServersBackend } = await import("./backends/servers/backend");
  const { MemoryNames } = await import("./backends/servers/names");
  const { Server, Servers } = await import("./backends/servers/server");
  const certificates = peerCertificates(config);
  const servers = addresses.map(({ number, url, serverName }) => {
    const tls = certificates && { ...certificates, serverName };
    const identity = { number, namesPerOwner: config.OWN_SANDBOXES };
    return new Server(number, new RemoteBackend({ name: `server ${number}`, url, tls, identity }));
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

/** What servers and routers know each other by; undefined where they are on one machine, and nobody else is. */
function peerCertificates({ PEER_TLS_FILE: own, PEER_CA_FILE: authority }: Config) {
  if ((own === undefined) !== (authority === undefined))
    throw new ConfigError("PEER_TLS_FILE and PEER_CA_FILE: either both are set, or neither");
  if (own === undefined || authority === undefined) return undefined;
  const pem = readFileSync(own, "utf8");
  return { cert: pem, key: pem, ca: readFileSync(authority, "utf8") };
}
