import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import type { Server } from "node:https";
import { createSecureContext } from "node:tls";
import type { FastifyBaseLogger } from "fastify";

/** Neither clients of today nor their libraries need anything older. */
export const MIN_TLS = "TLSv1.2";

const LOOK_MS = 1_000;

const DAY_MS = 24 * 3_600_000;

/** Time before its end from which on a certificate is worth a line in the log, one a day. */
const SOON_MS = 21 * DAY_MS;

/**
 * The server's certificate and key, from one file of PEM text. The file is looked at every second: another
 * certificate serves new connections at once, and those that are open go on.
 */
export class ServerCertificate {
  private seen = "";
  private ends: number | undefined;
  private saidAt = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly path: string,
    private readonly server: Pick<Server, "setSecureContext">,
    private readonly log: Pick<FastifyBaseLogger, "info" | "warn" | "error">,
  ) {
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
    const ends = new Date(this.ends).toISOString();
    this.log.warn({ ends }, "the certificate ends soon: `pulumi up` renews one of the stack's own");
  }

  private load(): void {
    let version = "none";
    try {
      const { ino, mtimeMs, size } = statSync(this.path);
      version = `${ino} ${mtimeMs} ${size}`;
      if (version === this.seen) return;
      const pem = readFileSync(this.path, "utf8");
      // Refused before it takes the place of one that works.
      createSecureContext({ key: pem, cert: pem });
      this.server.setSecureContext({ key: pem, cert: pem, minVersion: MIN_TLS });
      this.ends = Date.parse(new X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE"))).validTo);
      this.saidAt = 0;
      this.log.info({ path: this.path }, "the certificate was read");
      this.warn();
    } catch (error) {
      const known = version === this.seen;
      if (!known) this.log.error({ err: String(error) }, "there is no certificate that could be used");
    }
    this.seen = version;
  }
}

/**
 * Answers /readyz, with the reasons, over plain http to the container itself: a health check has no use for a
 * certificate, and must pass before the first one comes. Guests don't reach the server's loopback.
 */
export function serveHealth(readiness: () => Promise<{ ready: boolean }>, port: number): Promise<HttpServer> {
  const server = createServer((request, response) => {
    if (request.url !== "/readyz") return void response.writeHead(404).end();
    readiness().then(
      (answer) => {
        response.writeHead(answer.ready ? 200 : 503, { "content-type": "application/json" });
        response.end(JSON.stringify(answer));
      },
      () => response.writeHead(503).end(),
    );
  });
  server.unref();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
