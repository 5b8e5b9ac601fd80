import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { SandboxRecord } from "../../backends/msb/sandbox-record";
import type { FindOptions } from "../../backends/msb/sandbox-registry";
import type { Sandboxes } from "../../backends/msb/sandboxes";
import type { Volumes } from "../../backends/msb/volumes";
import type { Config } from "../../config";
import { ServiceError, sandboxNotFound } from "../../errors";
import type { KeyCheck } from "../../keys/key-check";
import type { Key } from "../../keys/key-file";
import type { ConnectionLimit } from "../../limits/rate-limit";
import type { Metrics } from "../metrics";
import "../request-life";
import { clientShape, sandboxBodyOf } from "../sandbox-body";
import type { SandboxBody } from "../schema/sandbox";

/** What the routes work with. */
export type Context = {
  config: Config;
  sandboxes: Sandboxes;
  volumes: Volumes;
  metrics: Metrics;
  connections: ConnectionLimit;
  keys: KeyCheck;
};

declare module "fastify" {
  interface FastifyRequest {
    /** The key that the request came with; null where none is asked for. */
    key: Key | null;
    /** Its id; "" where none is asked for. */
    keyId: string;
    /** Id and name of the sandbox that the request is about, for the log. */
    sandboxId: string;
    sandboxName: string;
  }
}

/** How a sandbox is named in a path. */
export type Reference = { id: string } | { name: string };

/** The key whose sandboxes and volumes alone the request may see; undefined where it may see all. */
export function ownerFor({ config }: Context, request: FastifyRequest): string | undefined {
  return config.OWN_SANDBOXES ? request.keyId : undefined;
}

/**
 * Counts a connection that the client holds open until the request is over, and has it ended when its key is no more.
 * @throws ServiceError 429, or if the client has gone
 */
export function holdConnection(
  { connections, keys }: Context,
  { key, life }: FastifyRequest,
  end: () => void,
): void {
  life.check();
  if (!key) return;
  life.hold(connections.take(key.id, key.limits.connections));
  life.hold(
    keys.hold(key, () => {
      life.cutOff();
      end();
    }),
  );
}

/** The sandbox of a path; another key's is none, where they have owners. @throws ServiceError 404 */
export async function findSandbox(
  context: Context,
  request: FastifyRequest,
  which: Reference,
  options?: FindOptions,
) {
  const { registry } = context.sandboxes;
  const record =
    "id" in which ? await registry.byId(which.id, options) : await registry.byName(which.name, options);
  const owner = ownerFor(context, request);
  if (!record || (owner !== undefined && record.owner !== owner))
    throw sandboxNotFound("id" in which ? which.id : which.name);
  request.sandboxId = record.id;
  request.sandboxName = record.name;
  return record;
}

/** The answer's body, in the shape that the asking client reads. */
export function bodyFor(context: Context, request: FastifyRequest, record: SandboxRecord): SandboxBody {
  const status = context.sandboxes.registry.status(record);
  return sandboxBodyOf(record, status, clientShape(request.headers["user-agent"]));
}

/** Aborted when the client goes away before it has its answer. */
export const cutOffSignal = ({ request }: FastifyReply): AbortSignal => request.life.unanswered;

export const notRunning = (record: SandboxRecord, status: string) =>
  new ServiceError("conflict", `the sandbox ${JSON.stringify(record.name)} is ${status}`);

export type App = FastifyInstance;
export const typed = (app: App) => app.withTypeProvider<ZodTypeProvider>();
