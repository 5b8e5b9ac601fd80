import { shellQuote } from "../components/connection";
import { ofHost } from "../components/errors";
import type { StateResource } from "./drift";
import type { SetupHost } from "./stack";
import { resourcesOf } from "./unreachable";

/**
 * What a destroyed stack has left on its hosts, as its settings say, and what to type to be rid of it. One text for
 * each host with such volumes.
 *
 * @param resources the stack's before it was destroyed
 */
export function explainKept(hosts: readonly SetupHost[], resources: readonly StateResource[]): string[] {
  return hosts.flatMap((host) => {
    const urns = new Set(resourcesOf(host, resources));
    const names = resources
      .filter(({ type, retainOnDelete }) => retainOnDelete && type === "docker:index/volume:Volume")
      .flatMap(({ urn, outputs }) => (urns.has(urn) && outputs?.name ? [outputs.name] : []));
    if (names.length === 0) return [];
    const text = `The data stays (volumes.keep): the next npm run up goes on with it.\n  to remove it: ${removal(host, names)}`;
    return [hosts.length > 1 ? ofHost(host.name, text) : text];
  });
}

function removal({ host, baseName }: SetupHost, volumes: string[]): string {
  if (host === "emulated")
    return `bash toolchain/emulated-host/emulated-host.sh delete ${shellQuote(baseName)}`;
  const engine = host === "local" ? [] : ["--host", host];
  return ["docker", ...engine, "volume", "rm", ...volumes].map(shellQuote).join(" ");
}
