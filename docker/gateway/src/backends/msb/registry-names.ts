import { lookup, Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { SharedPlaces } from "../../limits/shared-places";

export type NamesOptions = {
  /** Every address of a name whose address may be any. Default: the system's own, with its files and search domains. */
  lookup?: (host: string) => Promise<string[]>;
  /** Every address of any other name. Default: /etc/hosts, then name servers. */
  resolve?: (host: string, signal: AbortSignal) => Promise<string[]>;
};

export type Question = {
  /** The stack's settings name it. */
  isNamed: boolean;
  /** Owners take turns. */
  owner: symbol;
  /** Ends the question. */
  signal: AbortSignal;
};

/** The system's lookups take threads that all files share: two at once are all that libuv runs. */
const LOOKUPS_AT_ONCE = 2;
const QUESTIONS_AT_ONCE = 64;
/** Milliseconds for one try at one name server, and for a name in all. */
const TRY_MS = 2_000;
const NAME_MS = 10_000;
/** A name that had no address has none for that many milliseconds; so many names are remembered. */
const FAILED_MS = 5_000;
const FAILED_NAMES = 1_000;

/**
 * The addresses of registries' names. A client chooses the names, and with them the name servers, which may not answer:
 * names that the settings do not name take no thread of the process, and one owner leaves places for others.
 */
export class RegistryNames {
  private readonly options: Required<NamesOptions>;
  private readonly lookups = new SharedPlaces(LOOKUPS_AT_ONCE, "lookups of names");
  private readonly questions = new SharedPlaces(QUESTIONS_AT_ONCE, "questions of name servers");
  /** When each name failed, by performance.now(), the oldest first. */
  private readonly failed = new Map<string, number>();

  constructor(options: NamesOptions = {}) {
    this.options = { lookup: systemLookup, resolve: resolveName, ...options };
  }

  /** Every address of a name, none where it has none. @throws the signal's reason */
  async addressesOf(host: string, { isNamed, owner, signal }: Question): Promise<string[]> {
    const { lookup: lookUp, resolve } = this.options;
    const places = isNamed ? this.lookups : this.questions;
    const found = await places.run(owner, signal, async () => {
      if (this.hasFailed(host)) return [];
      return isNamed ? lookUp(host).catch(() => []) : resolve(host, signal).catch(() => []);
    });
    signal.throwIfAborted();
    if (found.length === 0 && !this.hasFailed(host)) this.noteFailure(host);
    return found;
  }

  private hasFailed(host: string): boolean {
    const at = this.failed.get(host);
    return at !== undefined && performance.now() - at < FAILED_MS;
  }

  private noteFailure(host: string): void {
    this.failed.delete(host);
    this.failed.set(host, performance.now());
    const [oldest] = this.failed.keys();
    if (this.failed.size > FAILED_NAMES && oldest !== undefined) this.failed.delete(oldest);
  }
}

const systemLookup = async (host: string): Promise<string[]> =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** @param servers addresses of name servers. Default: those of the system, as they are set now */
export async function resolveName(host: string, signal: AbortSignal, servers?: string[]): Promise<string[]> {
  const written = addressesIn(await readFile("/etc/hosts", "latin1").catch(() => ""), host);
  if (written.length > 0) return written;
  signal.throwIfAborted();
  const resolver = new Resolver({ timeout: TRY_MS, tries: 2 });
  if (servers) resolver.setServers(servers);
  const cancel = () => resolver.cancel();
  const late = setTimeout(cancel, NAME_MS);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    return answers.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", cancel);
  }
}

/** The addresses that a file like /etc/hosts has for a name. */
export function addressesIn(hosts: string, name: string): string[] {
  return hosts.split("\n").flatMap((line) => {
    const [address, ...names] = line.replace(/#.*/, "").trim().toLowerCase().split(/\s+/);
    return address && names.includes(name.toLowerCase()) ? [address] : [];
  });
}
