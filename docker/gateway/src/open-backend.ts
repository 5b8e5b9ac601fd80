import { listenForAdmin } from "./backends/msb/admin";
import { MsbBackend } from "./backends/msb/backend";
import { egressLimit } from "./backends/msb/egress-limit";
import { warmByDefault } from "./backends/msb/warm-kind";
import type { BackendServer } from "./backends/remote/serve";
import { isRouter } from "./config";
import type { OpenOptions } from "./open-options";
import { peerCertificates } from "./peer-certificates";
import type { Backend } from "./sandboxes/backend";
import { serverLimits, sizeOfDisk } from "./server-limits";

/** What runs the sandboxes: msb on this machine or, for a router, other servers. @throws ConfigError */
export async function openBackend(options: OpenOptions): Promise<Backend> {
  if (!isRouter(options.config)) return openMsb(options);
  // What only a router needs is loaded by a router alone.
  const { openRouter } = await import("./open-router");
  return openRouter(options);
}

/** msb on this machine, offered to routers where that is set. */
async function openMsb(options: OpenOptions): Promise<Backend> {
  const { config, limitsOf, metrics, log, unusable, onClose } = options;
  const limits = serverLimits(config, sizeOfDisk(config.MSB_HOME));
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
    limits,
    limitsOf,
    reserveBytes: config.LIMIT_DISK_RESERVE_MIB * 1024 * 1024,
    idlePauseSeconds: config.LIMIT_IDLE_PAUSE_SECONDS,
    warm: {
      // The trial of an upgrade starts nothing.
      kinds: config.RESUME_SANDBOXES ? (config.WARM ?? warmByDefault(limits, config.STARTER_ARCHIVE)) : [],
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
