import { ServersBackend } from "./backends/servers/backend";
import { MemoryNames } from "./backends/servers/names";
import type { Servers } from "./backends/servers/server";
import type { ServerHas } from "./kubernetes/server-counts";
import type { OpenOptions } from "./open-options";
import { peerCertificates } from "./peer-certificates";
import { RouterServers } from "./router-servers";
import type { Backend } from "./sandboxes/backend";

/** Other servers, reached over HTTP. They know nothing of keys. @throws ConfigError */
export async function openRouter(options: OpenOptions): Promise<Backend> {
  const { config, kubernetes, limitsOf, onClose } = options;
  const namesPerOwner = config.OWN_SANDBOXES;
  let servers: RouterServers | undefined;
  const certificates = peerCertificates(options, (renewed) => servers?.renew(renewed));
  servers = new RouterServers({ certificates, namesPerOwner });
  const backend = new ServersBackend({
    servers: servers.servers,
    names: kubernetes?.names ?? new MemoryNames(),
    namesPerOwner,
    limitsOf,
    checks: kubernetes?.checks,
  });
  const { use, close } = servers;
  onClose(async () => {
    await close();
    await backend.close();
  });
  if (config.SERVERS) use(config.SERVERS);
  kubernetes?.follow(use);
  kubernetes?.tell(() => countsOf(servers.servers));
  return backend;
}

/** What each server has, by its number: of those that answer. */
async function countsOf(servers: Servers): Promise<ReadonlyMap<number, ServerHas>> {
  const counts = await Promise.all(
    servers.all().map((server) =>
      server
        .ask(({ backend }) => backend.usage())
        .then(
          ({ total, volumes, snapshots }): [number, ServerHas][] => [
            [server.number, { sandboxes: total, volumes, snapshots }],
          ],
          () => [],
        ),
    ),
  );
  return new Map(counts.flat());
}
