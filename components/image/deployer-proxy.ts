import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { shellQuote } from "../settings/shell";
import { giveFile } from "./deployer-certificates";

/** File of the build context that names this machine's proxy, for the downloads of the build; git ignores it. */
export const proxyFile = "build/deployer-proxy.sh";

/** Variables, and what the docker client's config.json calls them. */
const variables = {
  http_proxy: "httpProxy",
  https_proxy: "httpsProxy",
  ftp_proxy: "ftpProxy",
  all_proxy: "allProxy",
  no_proxy: "noProxy",
};

/**
 * Passes this machine's proxy to a build: the one in the docker client's config.json, else the environment's. Like the CA
 * certificates it is no input of the build: with another proxy, or none, the image is the same.
 *
 * @throws what writing the file throws; nothing is written where it is up to date
 */
export function giveProxy(context: string, environment: NodeJS.ProcessEnv = process.env): void {
  const client = clientProxies(environment);
  const lines = Object.entries(variables).flatMap(([name, clientName]) => {
    const value = client[clientName] || environment[name] || environment[name.toUpperCase()];
    // Programs differ in which of the two they read.
    return value ? [`export ${name}=${shellQuote(value)} ${name.toUpperCase()}=${shellQuote(value)}\n`] : [];
  });
  giveFile(join(context, proxyFile), lines.join(""));
}

function clientProxies(environment: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const folder = environment.DOCKER_CONFIG || join(environment.HOME || homedir(), ".docker");
  try {
    return JSON.parse(readFileSync(join(folder, "config.json"), "utf8")).proxies?.default ?? {};
  } catch {
    return {};
  }
}
