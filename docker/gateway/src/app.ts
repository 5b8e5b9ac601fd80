import Fastify, { type FastifyInstance } from "fastify";
import packageFile from "../package.json";
import type { Config } from "./config";
import { Msb } from "./msb";
import { ReadinessProbe } from "./readiness";
import { StarterImage } from "./starter";

/** The parts of a running gateway that its main program needs. */
export type Gateway = { app: FastifyInstance; msb: Msb; starter: StarterImage };

/** Builds the server; nothing is listened on and nothing is started yet. */
export function createGateway(config: Config): Gateway {
  const app = Fastify({
    logger: { level: config.LOG_LEVEL, base: { service: "gateway" }, timestamp: isoTime },
    disableRequestLogging: true,
    forceCloseConnections: true,
  });
  const msb = new Msb({ path: config.MSB_PATH, home: config.MSB_HOME });
  const starter = new StarterImage(config, msb, app.log);
  const readiness = new ReadinessProbe(config, msb, starter.check);

  app.get("/healthz", () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) => {
    const answer = await readiness.check();
    return reply.code(answer.ready ? 200 : 503).send(answer);
  });
  app.get("/version", async () => ({
    gateway: packageFile.version,
    msb: (await msb.ok(["--version"])).trim().replace(/^msb\s+/, ""),
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    node: process.version,
  }));
  return { app, msb, starter };
}

const isoTime = () => `,"time":"${new Date().toISOString()}"`;
