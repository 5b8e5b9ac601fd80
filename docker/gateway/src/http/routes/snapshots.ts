import type { FastifyRequest } from "fastify";
import { ServiceError, snapshotNotFound } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import type { Snapshot, SnapshotOperation, SnapshotReference } from "../../sandboxes/snapshots";
import { ANSWERS } from "../errors";
import { MAX_PAGE, pageOf, readCursor, sendJson } from "../paging";
import { errorResponses, idParams, messageBody, nameParams } from "../schema/common";
import {
  createSnapshotBody,
  type SnapshotBody,
  type SnapshotOperationBody,
  snapshotBody,
  snapshotListQuery,
  snapshotOperationBody,
  snapshotPage,
} from "../schema/snapshot";
import { type App, type Context, findSandbox, scopeFor, typed } from "./context";

const tags = ["snapshots"];
/** How long the answer to a create waits for it: a client that is told sooner looks again later. */
const ANSWER_WITHIN_MS = 20_000;

/** Disk snapshots: create and its operation, list, and by id or name get and delete. */
export function snapshotRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { snapshots } = context.backend;

  app.post(
    "/v1/snapshots",
    {
      schema: { tags, body: createSnapshotBody, response: { 202: snapshotOperationBody, ...errorResponses } },
    },
    async (request, reply) => {
      const { sandbox_id, name, labels = {}, force = false } = request.body;
      const sandbox = await findSandbox(context, request, { id: sandbox_id });
      const owner = request.keyId;
      const { id } = await snapshots.create({ name, labels, owner, force, sandboxId: sandbox.id });
      request.snapshotId = id;
      // What its client has left goes on: it has a name to find it by.
      const until = (signal: AbortSignal) => snapshots.until(id, signal);
      const operation = await withFirstSignal([request.life.unanswered], until, ANSWER_WITHIN_MS);
      if (operation.error) throw new ServiceError(operation.error.kind, operation.error.message);
      return reply.code(202).send(operationBodyOf(operation));
    },
  );

  app.get(
    "/v1/snapshot-operations/:id",
    { schema: { tags, params: idParams, response: { 200: snapshotOperationBody, ...errorResponses } } },
    async (request) => {
      const { id } = request.params;
      const operation = await snapshots.operation(id, scopeFor(context, request));
      if (!operation) throw new ServiceError("notFound", `no snapshot operation ${JSON.stringify(id)}`);
      return operationBodyOf(operation);
    },
  );

  app.get(
    "/v1/snapshots",
    {
      config: { longAnswer: true },
      schema: { tags, querystring: snapshotListQuery, response: { 200: snapshotPage, ...errorResponses } },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query;
      const after = readCursor(cursor);
      const page = await snapshots.list({
        ...scopeFor(context, request),
        ...{ after, limit: Math.min(limit, MAX_PAGE), charged: (work) => request.charged(work) },
      });
      const made = request.charged(() => pageOf(page, snapshotBodyOf));
      return sendJson(reply, made) as never;
    },
  );

  for (const [path, params] of [
    ["/v1/snapshots/by-name/:name", nameParams],
    ["/v1/snapshots/:id", idParams],
  ] as const) {
    app.get(
      path,
      { schema: { tags, params, response: { 200: snapshotBody, ...errorResponses } } },
      async (request) =>
        snapshotBodyOf(await findSnapshot(context, request, request.params as SnapshotReference)),
    );
    app.delete(
      path,
      { schema: { tags, params, response: { 200: messageBody, ...errorResponses } } },
      async (request) => {
        const { id, name } = await findSnapshot(context, request, request.params as SnapshotReference);
        await snapshots.remove(id, scopeFor(context, request));
        return { message: `snapshot ${name} deleted` };
      },
    );
  }
}

/** The snapshot of a path or a body; another key's is none, where they have owners. @throws ServiceError snapshotNotFound */
export async function findSnapshot(
  context: Context,
  request: FastifyRequest,
  reference: SnapshotReference,
): Promise<Snapshot> {
  const found = await context.backend.snapshots.find(reference, scopeFor(context, request));
  if (!found) throw snapshotNotFound("id" in reference ? reference.id : reference.name);
  request.snapshotId = found.id;
  return found;
}

function snapshotBodyOf({
  id,
  name,
  labels,
  sandboxId,
  digest,
  sizeBytes,
  manifest,
}: Snapshot): SnapshotBody {
  return {
    ...{
      kind: "disk",
      name,
      location: { type: "managed", id },
      sandbox_id: sandboxId,
      digest,
      labels,
      manifest,
    },
    ...{ size_bytes: sizeBytes, created_at: manifest.created_at },
  };
}

function operationBodyOf(operation: SnapshotOperation): SnapshotOperationBody {
  const { id, status, result, error, createdAt, updatedAt, completedAt } = operation;
  return {
    ...{ id, kind: "disk", status, created_at: createdAt, updated_at: updatedAt, completed_at: completedAt },
    result: result && snapshotBodyOf(result),
    error: error && { code: ANSWERS[error.kind][1], message: error.message },
  };
}
