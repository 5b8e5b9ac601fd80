import { createGateway } from "./app";
import { ConfigError, readConfig } from "./config";
import { describe } from "./readiness";
import { stopSandboxes } from "./shutdown";

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const { app, msb, starter } = createGateway(config);

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    app.log.info({ signal, graceSeconds: config.STOP_TIMEOUT_SECONDS }, "stopping");
    const closed = app.close();
    await stopSandboxes(msb, app.log, config.STOP_TIMEOUT_SECONDS).catch((error) =>
      app.log.error({ err: describe(error) }, "the running sandboxes could not be stopped"),
    );
    await closed;
    app.log.info("stopped");
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);

  await app.listen({ port: config.PORT, host: config.LISTEN_ADDRESS });
  await starter.ensure();
}

main().catch((error) => {
  // A mistake of the user's needs its sentence and no stack.
  process.stderr.write(`${error instanceof ConfigError ? error.message : (error?.stack ?? error)}\n`);
  process.exit(1);
});
