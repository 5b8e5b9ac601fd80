import { stat } from "node:fs/promises";
import { isIP } from "node:net";
import { mirrored, parseReference } from "./image-reference";
import { notAllowed } from "./pull-errors";
import { type KeptSettings, keptFile, nothingKept, readKept } from "./registry-settings";

/** What a pull may connect to, beside public addresses. */
export type Reach = {
  /** The port of the registry that the reference names. */
  port: number;
  /** `host:port` that may be at any address: the stack's settings name them. */
  named: Set<string>;
  /** Those of them that may be asked without TLS. */
  plain: Set<string>;
};

/** The stack's settings of registries, read again when their file is another one. */
export class RegistryRules {
  private settings: KeptSettings = nothingKept;
  private seen = "";

  constructor(private readonly home: string) {}

  async current(): Promise<KeptSettings> {
    const found = await stat(keptFile(this.home)).catch(() => undefined);
    const seen = found ? `${found.ino} ${found.mtimeMs} ${found.size}` : "";
    if (seen === this.seen) return this.settings;
    this.settings = await readKept(this.home);
    this.seen = seen;
    return this.settings;
  }

  /** The names under which msb may have an image: its own, then the mirror's. As the settings were when last read. */
  namesOf(reference: string): string[] {
    const other = mirrored(reference, this.settings.mirrors);
    return other === undefined ? [reference] : [reference, other];
  }

  /**
   * What a pull may connect to. Only a pull from what the settings name reaches what they name: the names of others
   * lead to public addresses only, wherever they redirect to.
   * @throws ServiceError invalidSpec where its registry is none that this server pulls from
   */
  reachOf(reference: string): Reach {
    const registry = parseReference(reference).registry.toLowerCase();
    const { host, port } = split(registry);
    const { mirrors, logins, hosts, plainHttp = hosts, allowed } = this.settings;
    const full = (allowed ?? []).filter((entry) => !entry.includes("*"));
    const prefixes = Object.values(mirrors).map((prefix) => prefix.split("/")[0] ?? "");
    const named = [...prefixes, ...logins, ...plainHttp, ...full];
    if (named.includes(registry)) {
      const plain = new Set(plainHttp.map((entry) => endpoint(entry, 80)));
      return { port, plain, named: new Set(named.map((entry) => endpoint(entry, 443))) };
    }
    const isAllowed = allowed === undefined || allowed.some((entry) => matches(entry, registry, host));
    if (!isAllowed || isIP(host) !== 0) throw notAllowed(reference);
    return { port, named: new Set(), plain: new Set() };
  }
}

function split(registry: string): { host: string; port: number } {
  const [, host = registry, port = "443"] = /^(.*):(\d+)$/.exec(registry) ?? [];
  return { host, port: Number(port) };
}

function endpoint(entry: string, usual: number): string {
  return /:\d+$/.test(entry) ? entry.toLowerCase() : `${entry.toLowerCase()}:${usual}`;
}

/** @example matches("*.example.com", "a.example.com:5000", "a.example.com") // true */
function matches(entry: string, registry: string, host: string): boolean {
  if (entry === "*") return true;
  if (entry.startsWith("*.")) return host.endsWith(entry.slice(1).toLowerCase());
  return entry.toLowerCase() === registry;
}
