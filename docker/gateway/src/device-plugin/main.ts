import { ConfigError, errorText } from "../errors";
import { readConfig } from "./config";
import { checkFolder } from "./folder";
import { pluginLog } from "./log";
import { DevicePlugin } from "./plugin";

/**
 * The KVM device plugin of a Kubernetes node: `node /opt/gateway/device-plugin.cjs`, in a pod from the server's image. By it
 * pods without privileges get /dev/kvm, where they ask for the resource that it offers. config.ts has its environment.
 */
async function main(): Promise<void> {
  const config = readConfig(process.env);
  checkFolder(config.DEVICE_PLUGINS_FOLDER);
  const log = pluginLog(config.LOG_LEVEL);
  // The pod is started anew; until then no container gets the device, and all that have it keep it.
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "uncaught exception: stopping");
    process.exit(1);
  });
  const plugin = new DevicePlugin(config, log);
  for (const signal of ["SIGTERM", "SIGINT"])
    process.on(signal, () => {
      plugin.stop();
      log.info({ signal }, "stopped");
      process.exit(0);
    });
  await plugin.run();
}

main().catch((error) => {
  // A mistake of the user's needs its sentence and no stack.
  process.stderr.write(`${error instanceof ConfigError ? error.message : errorText(error)}\n`);
  process.exit(1);
});
