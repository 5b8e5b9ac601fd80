import { mkdirSync } from "node:fs";
import type { Server } from "node:https";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { halfState } from "./backends/msb/half-state";
import { type Config, isRouter } from "./config";
import { ConfigError } from "./errors";
import { guardedScope } from "./http/guarded-scope";
import { KeptAnswers } from "./http/kept-answers";
import { Metrics } from "./http/metrics";
import { agentRoutes } from "./http/routes/agent";
import type { Context } from "./http/routes/context";
import { forkRoutes } from "./http/routes/forks";
import { logRoutes } from "./http/routes/logs";
import { modificationRoutes } from "./http/routes/modifications";
import { openRoutes, quotaRoutes } from "./http/routes/operations";
import { pauseRoutes } from "./http/routes/pauses";
import { sandboxRoutes } from "./http/routes/sandboxes";
import { snapshotRoutes } from "./http/routes/snapshots";
import { volumeFileRoutes } from "./http/routes/volume-files";
import { volumeRoutes } from "./http/routes/volumes";
import { createServer, type LogStream } from "./http/server";
import { ServerCertificate } from "./http/tls";
import { KeyCheck } from "./keys/key-check";
import { ConnectionLimit, RateLimit } from "./limits/rate-limit";
import { openBackend } from "./open-backend";
import { openCluster } from "./open-cluster";
import { checkRouter } from "./router-settings";
import type { Backend, Owner } from "./sandboxes/backend";
import { SandboxService } from "./sandboxes/service";

export type Gateway = {
  app: FastifyInstance;
  metrics: Metrics;
  backend: Backend;
  /** Stops accepting, stops the sandboxes, ends. Resolves within the stop timeout, or another one, and a little. */
  stop: (timeoutSeconds?: number) => Promise<void>;
};

export type GatewayOptions = {
  /** Called, maybe more than once, where the server can't go on, for a reason that only showed while it served. Default: nothing. */
  unusable?: (error: ConfigError) => void;
  /** Where the log goes. Default: the standard output. */
  logTo?: LogStream;
};

/** Builds the gateway and recovers its records; nothing is listened on yet. @throws ConfigError */
export async function createGateway(
  config: Config,
  { unusable = () => undefined, logTo }: GatewayOptions = {},
): Promise<Gateway> {
  checkRouter(config);
  // Before anything is written there.
  const half = isRouter(config) ? undefined : halfState(config.MSB_HOME, !config.RESUME_SANDBOXES);
  if (half) throw new ConfigError(half);
  const metrics = new Metrics();
  const app = await createServer(config, metrics, logTo);
  const { log } = app;
  if (config.TLS_FILE) {
    const certificate = new ServerCertificate(config.TLS_FILE, app.server as unknown as Server, log);
    metrics.watchCertificate(certificate.endsAt);
    app.addHook("onClose", async () => certificate.close());
  }
  const state = join(config.MSB_HOME, "gateway");
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const onClose = (close: () => Promise<void>) => void app.addHook("onClose", close);
  // Before the keys are read.
  const kubernetes = await openCluster(config, log, onClose);
  const keys = new KeyCheck({
    file: config.API_KEYS_FILE,
    devMode: config.DEV_MODE,
    usesFile: join(state, "keys-used.json"),
    log,
    refused: (why) => metrics.refusedKeys.inc({ why }),
  });
  app.addHook("onClose", () => keys.close());
  const limitsOf = (owner: Owner) => keys.limitsOf(owner);
  const backend = await openBackend({ config, limitsOf, metrics, log, unusable, onClose, kubernetes });
  metrics.watch(backend);

  const hostNames = config.HOST_NAMES.toLowerCase().split(",").filter(Boolean);
  const browsers = { devMode: config.DEV_MODE, hostNames };
  const connections = new ConnectionLimit(config.LIMIT_CONNECTIONS);
  metrics.watchHeld(
    () => connections.total,
    () => keys.holds,
  );
  const service = new SandboxService(backend.sandboxes);
  const answers = new KeptAnswers();
  const context: Context = { config, backend, service, metrics, connections, keys, answers };
  openRoutes(app, {
    keys,
    browsers,
    readiness: () => backend.readiness(),
    runtimeVersion: () => backend.version(),
  });
  guardedScope(app, { keys, browsers, rate: new RateLimit(config.LIMIT_REQUESTS_PER_SECOND) }, (scope) => {
    for (const routes of [
      quotaRoutes,
      sandboxRoutes,
      pauseRoutes,
      forkRoutes,
      modificationRoutes,
      logRoutes,
      agentRoutes,
      volumeRoutes,
      volumeFileRoutes,
      snapshotRoutes,
    ])
      routes(scope, context);
  });

  const stop = async (timeoutSeconds = config.STOP_TIMEOUT_SECONDS): Promise<void> => {
    const deadline = Date.now() + timeoutSeconds * 1000;
    // Connections that are open go on being answered meanwhile: what makes or starts is refused.
    app.server.close();
    await backend.drain(deadline);
    // A router's servers go on with what it was making: its clients are to hear of it.
    await service.finish(deadline);
    await app.close();
  };
  return { app, backend, metrics, stop };
}
