import { setTimeout as sleep } from "node:timers/promises";
import { RemoteBackend } from "./backends/remote/client";
import type { Certificates } from "./backends/remote/serve";
import { Server, Servers } from "./backends/servers/server";

/** Where a server is; `serverName` is the name in its certificate, by default the URL's host. */
export type Address = { number: number; url: string; serverName?: string };

export type RouterServersOptions = {
  /** What they and the router know each other by. Default: nothing; they are on this machine. */
  certificates?: Certificates;
  namesPerOwner: boolean;
};

type Entry = { address: string; server: Server; remote: RemoteBackend; isWaitedFor: boolean };

/** Milliseconds after which a new server that has not answered is asked again. */
const ASK_AGAIN_MS = 500;

/**
 * A router's servers, as their addresses come and go. Nothing is known of what is on those that it starts with, so they are
 * waited for. One that comes later joins when it has answered first: a pod that can't start stops nothing.
 */
export class RouterServers {
  readonly servers = new Servers([]);
  private entries = new Map<number, Entry>();
  private hasStarted = false;
  private readonly closing = new AbortController();
  private certificates: Certificates | undefined;

  constructor(private readonly options: RouterServersOptions) {
    this.certificates = options.certificates;
  }

  /** From here on it is these. Those that stay, at the same address, keep what is known of them. */
  use = (addresses: readonly Address[]): void => {
    if (this.closing.signal.aborted) return;
    const before = this.entries;
    this.entries = new Map(
      addresses.map((address) => {
        const known = before.get(address.number);
        const isSame = known?.address === JSON.stringify(address);
        return [address.number, isSame ? known : this.enter(address)];
      }),
    );
    this.hasStarted ||= addresses.length > 0;
    this.arrange();
    // What is under way with one that has gone ends there, not here.
    for (const entry of this.entries.values())
      if (!entry.isWaitedFor && before.get(entry.server.number) !== entry) void this.welcome(entry);
  };

  /** Uses these certificates for new connections. */
  renew(certificates: Certificates): void {
    this.certificates = certificates;
    for (const { remote } of this.entries.values()) remote.renew(certificates);
  }

  /** Nothing comes or goes any more, and all connections end. */
  close = async (): Promise<void> => {
    this.closing.abort();
    await Promise.all([...this.entries.values()].map(({ remote }) => remote.close()));
  };

  private enter(address: Address): Entry {
    const { number, url, serverName } = address;
    const tls = this.certificates && { ...this.certificates, serverName };
    const identity = { number, namesPerOwner: this.options.namesPerOwner };
    const remote = new RemoteBackend({ name: `server ${number}`, url, tls, identity });
    const server = new Server(number, remote);
    return { address: JSON.stringify(address), server, remote, isWaitedFor: !this.hasStarted };
  }

  private arrange(): void {
    const entries = [...this.entries.values()];
    const isIn = ({ isWaitedFor, server }: Entry) => isWaitedFor || server.mirror.isKnown;
    const serversOf = (some: Entry[]) => some.map(({ server }) => server);
    this.servers.replace(serversOf(entries.filter(isIn)), serversOf(entries.filter((entry) => !isIn(entry))));
  }

  /** Asks a new server until it answers, or is no more. Never rejects. */
  private async welcome(entry: Entry): Promise<void> {
    const { server } = entry;
    const { signal } = this.closing;
    while (!signal.aborted && this.entries.get(server.number) === entry) {
      await server.ask(({ mirror }) => mirror.refresh()).catch(() => undefined);
      if (server.mirror.isKnown)
        return this.entries.get(server.number) === entry ? this.arrange() : undefined;
      await sleep(ASK_AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
