import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Config } from "../../config";
import { sandboxNotFound } from "../../errors";
import type { KeyCheck } from "../../keys/key-check";
import type { Key } from "../../keys/key-file";
import type { ConnectionLimit } from "../../limits/rate-limit";
import type { Backend, Reference, Sandbox, Scope } from "../../sandboxes/backend";
import type { SandboxService } from "../../sandboxes/service";
import type { KeptAnswers } from "../kept-answers";
import type { Metrics } from "../metrics";
import { sendJson } from "../paging";
import "../guarded-scope";
import "../request-life";
import { type ClientShape, clientShape, sandboxBodyOf } from "../sandbox-body";
import { idParams, nameParams } from "../schema/common";

/** What the routes work with. */
export type Context = {
  config: Config;
  backend: Backend;
  service: SandboxService;
  metrics: Metrics;
  connections: ConnectionLimit;
  keys: KeyCheck;
  /** Texts of sandboxes, and of pages of them. */
  answers: KeptAnswers;
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
    /** Ids of the forks that it has made, for the log. */
    forkIds: string[] | null;
    /** Id of the snapshot that it is about, for the log. */
    snapshotId: string;
  }
}

/** Where a sandbox is, by its name or its id, with what the path says. */
export const ONE_SANDBOX = [
  ["/v1/sandboxes/by-name/:name", nameParams],
  ["/v1/sandboxes/:id", idParams],
] as const;

/** Whose sandboxes, volumes and snapshots alone the request may see. */
export function scopeFor({ config }: Context, request: FastifyRequest): Scope {
  return config.OWN_SANDBOXES ? { owner: request.keyId } : {};
}

/**
 * Counts a connection that the client holds open until the request is over, and has it ended when its key is no more.
 * @throws ServiceError 429, or if the client has gone
 */
export function holdConnection(context: Context, request: FastifyRequest, end: () => void): void {
  const { key, life } = request;
  life.check();
  if (!key) return;
  life.hold(context.connections.take(key.id, key.limits.connections));
  request.leavePlace?.();
  endWithKey(context, request, end);
}

/** Has a request ended when its key is no more. */
export function endWithKey({ keys }: Context, { key, life }: FastifyRequest, end: () => void): void {
  if (!key) return;
  life.hold(
    keys.hold(key, () => {
      life.revoked();
      end();
    }),
  );
}

/** The sandbox of a path; another key's is none, where they have owners. @throws ServiceError sandboxNotFound */
export async function findSandbox(
  context: Context,
  request: FastifyRequest,
  reference: Reference,
): Promise<Sandbox> {
  const sandbox = await context.backend.sandboxes.get(reference, scopeFor(context, request));
  if (!sandbox) throw sandboxNotFound("id" in reference ? reference.id : reference.name);
  request.sandboxId = sandbox.id;
  request.sandboxName = sandbox.name;
  return sandbox;
}

/** The shape that the asking client reads. */
export const shapeFor = ({ headers }: FastifyRequest): ClientShape => clientShape(headers["user-agent"]);

/** Answers with a sandbox in that shape. Its client decides how large it is: the time to make it is the key's. */
export function sendSandbox(
  { answers }: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  sandbox: Sandbox,
): never {
  const shape = shapeFor(request);
  const make = () => Buffer.from(JSON.stringify(sandboxBodyOf(sandbox, shape)));
  return sendJson(
    reply,
    request.charged(() => answers.get([sandbox], shape, make)),
  ) as never;
}

/** Aborted when the client goes away before it has its answer. */
export const clientGoneSignal = ({ request }: FastifyReply): AbortSignal => request.life.unanswered;

export type App = FastifyInstance;
export const typed = (app: App) => app.withTypeProvider<ZodTypeProvider>();
