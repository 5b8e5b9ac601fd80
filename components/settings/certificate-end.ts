import { X509Certificate } from "node:crypto";

const DAY = 24 * 3_600_000;
/** Days before its end at which a certificate is worth a word. */
const SOON = 30;

/** When a certificate stops being good. */
export interface CertificateEnd {
  /** @example "2026-11-27" */
  day: string;
  /** Whole days that are left; negative once it has ended. */
  days: number;
  isSoon: boolean;
  hasEnded: boolean;
}

/**
 * The end of the certificates in a text, keys and other text aside: the first that ends, ends them all.
 *
 * @returns undefined where there is no certificate that can be read
 */
export function certificateEnd(pem: string, now = Date.now()): CertificateEnd | undefined {
  const ends = [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
    ([one]) => {
      try {
        return Date.parse(new X509Certificate(one).validTo);
      } catch {
        return Number.NaN;
      }
    },
  );
  const end = Math.min(...ends);
  if (!Number.isFinite(end)) return undefined;
  const days = Math.floor((end - now) / DAY);
  return { day: dayOf(end), days, isSoon: days < SOON, hasEnded: end <= now };
}

/** @example "The certificate expires in 3 days, on 2026-11-27: clients will refuse it." */
export function tellEnd(what: string, { day, days, hasEnded }: CertificateEnd): string {
  if (hasEnded) return `${what} expired on ${day}: clients refuse it.`;
  return `${what} expires in ${days} ${days === 1 ? "day" : "days"}, on ${day}: clients will refuse it.`;
}

export const dayOf = (time: string | number) => new Date(time).toISOString().slice(0, 10);
