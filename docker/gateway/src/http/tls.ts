import { createServer, type Server as HttpServer } from "node:http";
import type { Server } from "node:https";
import type { FastifyBaseLogger } from "fastify";
import { CertificateFiles } from "../certificate-files";

/** Neither clients of today nor their libraries need anything older. */
export const MIN_TLS = "TLSv1.2";

/**
 * The server's certificate and key, from one file of PEM text. The file is looked at every second: another
 * certificate serves new connections at once, and those that are open go on.
 */
export class ServerCertificate extends CertificateFiles {
  constructor(
    path: string,
    server: Pick<Server, "setSecureContext">,
    log: Pick<FastifyBaseLogger, "info" | "warn" | "error">,
  ) {
    super({
      path,
      use: (pem) => server.setSecureContext({ key: pem, cert: pem, minVersion: MIN_TLS }),
      endsSoon: "the certificate ends soon: `pulumi up` renews one of the stack's own",
      log,
    });
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
