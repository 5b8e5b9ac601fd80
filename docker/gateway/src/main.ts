import { createGateway, type Gateway } from "./app";
import { runCommand } from "./commands";
import { readConfig } from "./config";
import { ConfigError, errorText, isExhaustion } from "./errors";
import { serveHealth } from "./http/tls";

/** Undefined until it is made. */
let running: Gateway | undefined;

// What nobody foresaw may end a request, and never the microVMs of everybody.
process.on("unhandledRejection", (error) => {
  if (!running) return void process.stderr.write(`unhandled promise rejection: ${errorText(error)}\n`);
  running.metrics.unhandledRejections.inc();
  running.app.log.error({ err: error }, "unhandled promise rejection");
});

/** Seconds that guests get to write what they hold before the process ends over a failure. */
const CRASH_STOP_SECONDS = 10;

// The process can't be trusted any more, but guests lose what they did not write if it just ends.
let crashing = false;
process.on("uncaughtException", (error) => {
  if (running && isExhaustion(error)) return void running.app.log.error({ err: error }, "out of resources");
  process.stderr.write(`uncaught exception: ${errorText(error)}\n`);
  if (crashing) return;
  crashing = true;
  const end = () => process.exit(1);
  if (!running) return end();
  running.app.log.fatal({ err: error }, "uncaught exception: stopping");
  setTimeout(end, (CRASH_STOP_SECONDS + 2) * 1000);
  running.stop(CRASH_STOP_SECONDS).then(end, end);
});

let stopping = false;
/** Stops what runs, so that guests lose nothing, and ends the process. */
async function stop(gateway: Gateway, endProcess: () => void): Promise<void> {
  if (stopping) return;
  stopping = true;
  const { log } = gateway.app;
  await gateway.stop().catch((error) => log.error({ err: errorText(error) }, "the stop was not clean"));
  log.info("stopped");
  endProcess();
}

function unusable(error: ConfigError): void {
  // Nothing runs before it is made.
  if (!running) return void end(error);
  running.app.log.fatal({ err: error.message }, "the server can't go on: stopping");
  void stop(running, () => end(error));
}

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const words = process.argv.slice(2);
  if (words.length > 0) return runCommand(config.MSB_HOME, words);
  const gateway = await createGateway(config, { unusable });
  const { app } = gateway;
  running = gateway;

  const graceSeconds = config.STOP_TIMEOUT_SECONDS;
  for (const signal of ["SIGTERM", "SIGINT"])
    process.on(signal, () => {
      if (!stopping) app.log.info({ signal, graceSeconds }, "stopping");
      void stop(gateway, () => process.exit(0));
    });

  if (!config.DEV_MODE && !config.API_KEYS_FILE)
    app.log.warn("neither DEV_MODE nor API_KEYS_FILE is set: no key is taken");
  await app.listen({ port: config.PORT, host: config.LISTEN_ADDRESS });
  if (config.HEALTH_PORT) await serveHealth(() => gateway.backend.readiness(), config.HEALTH_PORT);
  await gateway.backend.resume();
}

main().catch(end);

function end(error: unknown): void {
  // A mistake of the user's needs its sentence and no stack.
  const said = error instanceof Error ? error.stack : error;
  process.stderr.write(`${error instanceof ConfigError ? error.message : said}\n`);
  process.exit(1);
}
