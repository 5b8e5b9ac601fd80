import { isIP } from "node:net";

const SIZE = /^(\d+(?:\.\d+)?)\s?([kmgtp]?)(?:i?b)?$/i;
const UNITS = ["", "K", "M", "G", "T", "P"];

/** One mebibyte, in bytes. */
export const MIB = 1024 ** 2;
/** One gibibyte, in bytes. */
export const GIB = 1024 ** 3;

/**
 * Parses a size the way Docker does: a number with an optional unit (k, m, g, t, p; powers of 1024;
 * case, `b` and `ib` don't matter). A plain number is bytes.
 *
 * @returns whole bytes, or undefined where the text is no size
 */
export function parseSize(text: string | number): number | undefined {
  const [, digits, unit] = SIZE.exec(String(text).trim()) ?? [];
  if (digits === undefined || unit === undefined) return undefined;
  const bytes = Math.floor(Number(digits) * 1024 ** UNITS.indexOf(unit.toUpperCase()));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Writes bytes with the largest unit that divides them: 4294967296 is `4G`. `parseSize` reads it back. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value > 0 && value % 1024 === 0 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value}${UNITS[unit]}`;
}

const SSH =
  /^ssh:\/\/[a-z_][\w.-]*@(?:\[([0-9a-f:.]+)\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(\d{1,5}))?\/?$/i;

/** Whether this is `ssh://user@address[:port]`; neither part may look like an option of ssh. */
export function isSshHost(host: string): boolean {
  const match = SSH.exec(host);
  if (match === null) return false;
  const [, ipv6, port = "22"] = match;
  return isPort(Number(port)) && (ipv6 === undefined || isIP(ipv6) === 6);
}

/** A TCP port that something can listen on. */
export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** An IP address in its canonical spelling, which the kernel too shows: IPv6 short and in lower case. */
export function canonicalAddress(address: string): string {
  const [ip = "", ...zone] = address.split("%");
  // The URL parser writes every spelling of an IPv6 address in its shortest form.
  return isIP(ip) === 6 ? [new URL(`http://[${ip}]`).hostname.slice(1, -1), ...zone].join("%") : address;
}

/** Whether only this machine can reach what listens on this IP address. */
export function isLoopback(address: string): boolean {
  if (isIP(address) === 4) return address.startsWith("127.");
  const [ip = ""] = canonicalAddress(address).split("%");
  return ip === "::1" || ip.startsWith("::ffff:7f");
}

/** Whether this IP address stands for all addresses of a machine. */
export function isUnspecified(address: string): boolean {
  return ["0.0.0.0", "::"].includes(canonicalAddress(address).split("%")[0] ?? "");
}

/** Whether the name is one of the IANA time zone database (offsets like `+01:00` are not). */
export function isTimeZone(name: string): boolean {
  if (name === "UTC") return true; // The default: Intl's start alone would take as long as all other checks.
  if (!/^[A-Za-z][\w+/-]*$/.test(name)) return false;
  try {
    // Intl ignores case; a zone is a file name in the container, so case matters there.
    const canonical = new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
    return canonical === name || canonical.toLowerCase() !== name.toLowerCase();
  } catch {
    return false;
  }
}

/** The time zone whose name is nearest to a misspelt one; undefined where none is near. */
export function nearestTimeZone(name: string): string | undefined {
  return nearest(name, ["UTC", ...Intl.supportedValuesOf("timeZone")]);
}

/**
 * The candidate nearest to a misspelt word; case, `-`, `_` and spaces don't count.
 * Undefined where more than a third of the letters differ.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[-_\s]/g, "");
  const wanted = plain(word).slice(0, 64);
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plain(candidate));
    if (best === undefined || distance < best.distance) best = { candidate, distance };
  }
  return best && best.distance * 3 <= Math.max(wanted.length, 3) ? best.candidate : undefined;
}

/** Levenshtein's distance, two rows at a time. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replace = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replace, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
