import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Config } from "../config";
import { ApiError, sandboxNotFound } from "../errors";
import type { Metrics } from "../metrics";
import type { ConnectionLimit } from "../rate-limit";
import type { SandboxRecord } from "../sandbox-record";
import type { FindOptions } from "../sandbox-registry";
import { clientShape, sandboxBodyOf } from "../sandbox-view";
import type { Sandboxes } from "../sandboxes";
import type { SandboxBody } from "../schema/sandbox";
import type { Volumes } from "../volumes";

/** What the routes work with. */
export type Context = {
  config: Config;
  sandboxes: Sandboxes;
  volumes: Volumes;
  metrics: Metrics;
  connections: ConnectionLimit;
};

declare module "fastify" {
  interface FastifyRequest {
    /** Id of the key that the request came with; "" where none is asked for. */
    keyId: string;
    /** Id of the sandbox that the request is about, for the log. */
    sandboxId: string;
  }
}

/** How a sandbox is named in a path. */
export type Reference = { id: string } | { name: string };

/** The sandbox of a path. @throws ApiError 404 */
export async function findSandbox(
  context: Context,
  request: FastifyRequest,
  which: Reference,
  options?: FindOptions,
) {
  const { registry } = context.sandboxes;
  const record =
    "id" in which ? await registry.byId(which.id, options) : await registry.byName(which.name, options);
  if (!record) throw sandboxNotFound("id" in which ? which.id : which.name);
  request.sandboxId = record.id;
  return record;
}

/** The answer's body, in the shape that the asking client reads. */
export function bodyFor(context: Context, request: FastifyRequest, record: SandboxRecord): SandboxBody {
  const status = context.sandboxes.registry.status(record);
  return sandboxBodyOf(record, status, clientShape(request.headers["user-agent"]));
}

/** Aborted when the client goes away before it has its answer. */
export function cutOffSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

export const notRunning = (record: SandboxRecord, status: string) =>
  new ApiError(409, "invalid_state_transition", `the sandbox ${JSON.stringify(record.name)} is ${status}`);

export type App = FastifyInstance;
export const typed = (app: App) => app.withTypeProvider<ZodTypeProvider>();
