import type { Server } from "node:https";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { listenForAdmin } from "./backends/msb/admin";
import { Msb } from "./backends/msb/command-line";
import { ImageCache } from "./backends/msb/image-cache";
import { type Readiness, ReadinessProbe } from "./backends/msb/readiness";
import { RecordStore } from "./backends/msb/record-store";
import { RegistryRules } from "./backends/msb/registry-rules";
import { Resume } from "./backends/msb/resume";
import { MsbSandboxes } from "./backends/msb/sandbox-commands";
import { type SandboxRecord, sandboxRecord } from "./backends/msb/sandbox-record";
import { SandboxRegistry } from "./backends/msb/sandbox-registry";
import { SandboxWorks } from "./backends/msb/sandbox-works";
import { Sandboxes } from "./backends/msb/sandboxes";
import { stopSandboxes } from "./backends/msb/shutdown";
import { StarterImage } from "./backends/msb/starter-image";
import { claimState } from "./backends/msb/state-version";
import { MsbView } from "./backends/msb/status-cache";
import { Sweeper } from "./backends/msb/sweeper";
import { VolumeFileStore } from "./backends/msb/volume-files/store";
import { volumeRecord } from "./backends/msb/volume-record";
import { Volumes } from "./backends/msb/volumes";
import type { Config } from "./config";
import { guardedScope } from "./http/guarded-scope";
import { Metrics } from "./http/metrics";
import { agentRoutes } from "./http/routes/agent";
import type { Context } from "./http/routes/context";
import { logRoutes } from "./http/routes/logs";
import { openRoutes, quotaRoutes } from "./http/routes/operations";
import { sandboxRoutes } from "./http/routes/sandboxes";
import { volumeFileRoutes } from "./http/routes/volume-files";
import { volumeRoutes } from "./http/routes/volumes";
import { createServer } from "./http/server";
import { ServerCertificate } from "./http/tls";
import { KeyCheck } from "./keys/key-check";
import { Capacity, containerLimits, type Limits } from "./limits/capacity";
import { ConnectionLimit, RateLimit } from "./limits/rate-limit";

const SWEEP_MS = 10_000;
/** How much of what is known of images' use a crash may lose. */
const FLUSH_MS = 60_000;

export type Gateway = {
  app: FastifyInstance;
  metrics: Metrics;
  sweeper: Sweeper;
  starter: StarterImage;
  resume: Resume;
  /** Whether the server can serve, with the reasons where it can't. */
  readiness: () => Promise<Readiness>;
  /** Stops accepting, stops the sandboxes, ends. Resolves within the stop timeout and a little. */
  stop: () => Promise<void>;
};

/** Builds the gateway and recovers its records; nothing is listened on yet. */
export async function createGateway(config: Config): Promise<Gateway> {
  const metrics = new Metrics();
  const app = await createServer(config, metrics);
  const { log } = app;
  if (config.TLS_FILE) {
    const certificate = new ServerCertificate(config.TLS_FILE, app.server as unknown as Server, log);
    app.addHook("onClose", async () => certificate.close());
  }
  const state = join(config.MSB_HOME, "gateway");
  const msb = new Msb({ path: config.MSB_PATH, home: config.MSB_HOME });
  // An msb that does not run at all is what the readiness check tells of.
  const version = await msb.version().catch(() => undefined);
  if (version) await claimState(config.MSB_HOME, version);
  const msbSandboxes = new MsbSandboxes(msb, join(state, "tmp"));
  const records = await RecordStore.open(join(state, "sandboxes"), sandboxRecord, log);
  const registry = new SandboxRegistry(records, new MsbView(msbSandboxes), msbSandboxes);
  const keys = new KeyCheck({
    file: config.API_KEYS_FILE,
    devMode: config.DEV_MODE,
    usesFile: join(state, "keys-used.json"),
    log,
    refused: (why) => metrics.refusedKeys.inc({ why }),
  });
  app.addHook("onClose", () => keys.close());
  const capacity = new Capacity(limitsOf(config), () => registry.running(), keys.limitsOf);
  metrics.watch(registry, capacity);
  const rules = new RegistryRules(config.MSB_HOME);
  await rules.current();
  const images = await ImageCache.open({
    ...{ home: config.MSB_HOME, msb, rules },
    wanted: () => references(records.all(), rules),
  });
  const works = new SandboxWorks(registry, capacity, msbSandboxes, {
    msbVersion: () => msb.version(),
    autoPull: config.AUTO_PULL_IMAGES,
    egress: config.EGRESS,
    images,
    stopGraceSeconds: config.STOP_TIMEOUT_SECONDS,
    booted: (seconds, ok) => metrics.boots.observe({ result: ok ? "ok" : "failed" }, seconds),
  });
  const sandboxes = new Sandboxes(registry, capacity, works, log);
  const volumeFiles = new VolumeFileStore({
    home: config.MSB_HOME,
    workspace: config.WORKSPACE,
    reserveBytes: config.LIMIT_DISK_RESERVE_MIB * 1024 * 1024,
  });
  volumeFiles
    .clean()
    .catch((error) => log.warn({ err: error }, "what uploads left that were cut off is still there"));
  const volumes = new Volumes(
    msb,
    await RecordStore.open(join(state, "volumes"), volumeRecord, log),
    registry,
    {
      home: config.MSB_HOME,
      workspace: config.WORKSPACE,
      files: volumeFiles,
    },
  );
  const sweeper = new Sweeper(sandboxes, registry, msbSandboxes, log);
  await sweeper
    .recover()
    .catch((error) => log.error({ err: error }, "recovery failed; the sweep goes on with it"));
  const flushing = setInterval(
    () => images.flush().catch((error) => log.warn({ err: error }, "not saved")),
    FLUSH_MS,
  );
  flushing.unref();
  app.addHook("onClose", async () => {
    clearInterval(flushing);
    await Promise.all([records.flush(), images.flush()]);
  });
  const starter = new StarterImage(config, msb, log);
  const resume = new Resume(config.MSB_HOME, sandboxes, registry, log);

  const hostNames = config.HOST_NAMES.toLowerCase().split(",").filter(Boolean);
  const browsers = { devMode: config.DEV_MODE, hostNames };
  const connections = new ConnectionLimit(config.LIMIT_CONNECTIONS);
  metrics.watchHeld(
    () => connections.total,
    () => keys.holds,
  );
  const context: Context = { config, sandboxes, volumes, metrics, connections, keys };
  const askMsb = async (maxAgeMs: number) => {
    await registry.view.get(maxAgeMs);
    registry.reconcile(maxAgeMs).catch((error) => log.warn({ err: String(error) }, "records lag behind msb"));
  };
  const probe = new ReadinessProbe(config, askMsb, starter.check);
  const readiness = () => probe.check();
  const admin = await listenForAdmin(config.MSB_HOME, { images, readiness });
  app.addHook("onClose", async () => {
    admin.close();
    images.close();
  });
  openRoutes(app, { keys, browsers, readiness, runtimeVersion: () => msb.version() });
  guardedScope(app, { keys, browsers, rate: new RateLimit(config.LIMIT_REQUESTS_PER_SECOND) }, (scope) => {
    for (const routes of [quotaRoutes, sandboxRoutes, logRoutes, agentRoutes, volumeRoutes, volumeFileRoutes])
      routes(scope, context);
  });

  const stop = async (): Promise<void> => {
    const deadline = Date.now() + config.STOP_TIMEOUT_SECONDS * 1000;
    sweeper.stop();
    app.server.close();
    // What is being made is let finish first, so that it can be stopped cleanly too.
    await sandboxes.serial.idle((deadline - Date.now()) / 2);
    await stopSandboxes(msb, log, (deadline - Date.now()) / 1000, (names) => resume.note(names));
    await app.close();
  };
  return { app, metrics, sweeper, starter, resume, readiness, stop };
}

export const startSweeping = ({ sweeper }: Gateway): void => sweeper.start(SWEEP_MS);

/** What sandboxes will start from that msb knows nothing of yet. */
function* references(records: Iterable<SandboxRecord>, rules: RegistryRules): Generator<string> {
  for (const { phase, spec } of records)
    if (spec && (phase === "pending" || phase === "creating")) yield* rules.namesOf(spec.reference);
}

/** CPUs promised for each one there is. */
const CPU_SHARING = 4;

function limitsOf(config: Config): Limits {
  const container = containerLimits();
  const memoryMib = config.LIMIT_MEMORY_MIB ?? container.memoryMib;
  const cpus = config.LIMIT_CPUS ?? container.cpus * CPU_SHARING;
  return {
    sandboxes: config.LIMIT_SANDBOXES,
    memoryMib,
    cpus,
    sandboxMemoryMib: Math.min(config.LIMIT_SANDBOX_MEMORY_MIB ?? memoryMib, memoryMib),
    sandboxCpus: Math.min(config.LIMIT_SANDBOX_CPUS ?? Math.max(container.cpus, 2), cpus),
  };
}
