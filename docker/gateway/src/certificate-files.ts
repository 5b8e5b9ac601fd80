import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { FastifyBaseLogger } from "fastify";

const LOOK_MS = 1_000;

const DAY_MS = 24 * 3_600_000;

/** Time before its end from which on a certificate is worth a line in the log, one a day. */
const SOON_MS = 21 * DAY_MS;

export type CertificateFilesOptions = {
  /** File of PEM text with a certificate and its key. */
  path: string;
  /** File with the certificate of an authority. */
  authorityPath?: string;
  /** Takes them, at once and whenever they are others. */
  use: (pem: string, authority?: string) => void;
  /** What is said when the certificate ends soon. */
  endsSoon: string;
  log: Pick<FastifyBaseLogger, "info" | "warn" | "error">;
};

/** A certificate from files that are looked at every second. What can't be used does not take the place of what can. */
export class CertificateFiles {
  private seen = "";
  private ends: number | undefined;
  private saidAt = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: CertificateFilesOptions) {
    this.load();
    this.timer = setInterval(() => {
      this.load();
      this.warn();
    }, LOOK_MS);
    this.timer.unref();
  }

  close = (): void => clearInterval(this.timer);

  /** When the certificate ends, in seconds since 1970; 0 where there is none. */
  endsAt = (): number => (this.ends ?? 0) / 1_000;

  /** Whoever runs the server need not look at it for months. */
  private warn(now = Date.now()): void {
    if (this.ends === undefined || this.ends - now > SOON_MS || now - this.saidAt < DAY_MS) return;
    this.saidAt = now;
    this.options.log.warn({ ends: new Date(this.ends).toISOString() }, this.options.endsSoon);
  }

  private load(): void {
    const { path, authorityPath, use, log } = this.options;
    let version = "none";
    try {
      version = [path, authorityPath].map((each) => each && versionOf(each)).join();
      if (version === this.seen) return;
      const pem = readFileSync(path, "utf8");
      const authority = authorityPath && readFileSync(authorityPath, "utf8");
      // Refused before it takes the place of one that works.
      createSecureContext({ key: pem, cert: pem, ca: authority });
      const { validTo } = new X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE")));
      use(pem, authority);
      this.ends = Date.parse(validTo);
      this.saidAt = 0;
      log.info({ path }, "the certificate was read");
      this.warn();
    } catch (error) {
      if (version !== this.seen)
        log.error({ err: String(error), path }, "there is no certificate that could be used");
    }
    this.seen = version;
  }
}

function versionOf(path: string): string {
  const { ino, mtimeMs, size } = statSync(path);
  return `${ino} ${mtimeMs} ${size}`;
}
