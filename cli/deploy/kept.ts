import { shellQuote } from "../../components/settings/shell";
import type { SetupHost } from "../stack";
import type { StateResource } from "./drift";
import { sayByHost } from "./host-resources";

/**
 * The volumes that a destroyed stack keeps on its hosts, and the commands that remove them. One text for each host with such
 * volumes.
 *
 * @param resources the stack's before it was destroyed
 */
export function explainKept(hosts: readonly SetupHost[], resources: readonly StateResource[]): string[] {
  return sayByHost(hosts, resources, (host, own) => {
    const names = own
      .filter(({ type, retainOnDelete }) => retainOnDelete && type === "docker:index/volume:Volume")
      .flatMap(({ outputs }) => outputs?.name ?? []);
    if (names.length === 0) return undefined;
    return `The data is kept (volumes.keep): the next up uses it again.\n  to remove it: ${removal(host, names)}`;
  });
}

function removal({ host, baseName }: SetupHost, volumes: string[]): string {
  if (host === "emulated") return `bash emulated-host/emulated-host.sh delete ${shellQuote(baseName)}`;
  const engine = host === "local" ? [] : ["--host", host];
  return ["docker", ...engine, "volume", "rm", ...volumes].map(shellQuote).join(" ");
}
