import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply } from "fastify";
import { ServiceError } from "../errors";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The body is a file of any length: it may take as long as it takes. */
    endlessBody?: boolean;
  }
}

/** Ends requests whose body takes longer than that to arrive: 408, and the connection is closed. */
export function endSlowBodies(app: FastifyInstance, timeoutSeconds: number): void {
  app.addHook("onRequest", async (request, reply) => {
    const { raw } = request;
    if (!hasBody(raw) || request.routeOptions.config.endlessBody) return;
    const late = () => new ServiceError("requestTimeout", `no body within ${timeoutSeconds} seconds`);
    const timer = setTimeout(() => refuseBody(raw, reply, late()), timeoutSeconds * 1000);
    const clear = () => clearTimeout(timer);
    raw.once("end", clear).once("close", clear);
  });
}

export const hasBody = ({ headers }: IncomingMessage) =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;

/** Ends a body that is still arriving with an error, which whoever reads it answers; the connection is closed. */
export function refuseBody(raw: IncomingMessage, reply: FastifyReply, error: ServiceError): void {
  // Nobody reads the body of a request that has its answer, or of a method that takes none.
  if (reply.sent || raw.listenerCount("error") === 0) return void raw.socket.destroy();
  reply.header("connection", "close");
  raw.emit("error", error);
}
