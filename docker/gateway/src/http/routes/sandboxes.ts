import type { FastifyRequest } from "fastify";
import type { Config } from "../../config";
import { invalidRequest, invalidSpec } from "../../errors";
import type { Reference, Sandbox } from "../../sandboxes/backend";
import { labels as labelsSchema } from "../../sandboxes/fields";
import type { Snapshot } from "../../sandboxes/snapshots";
import type { SandboxSpec } from "../../sandboxes/spec";
import { calledSnapshot, readCreateRequest } from "../create-request";
import { MAX_PAGE, pageOf, readCursor, sendJson } from "../paging";
import { sandboxBodyOf } from "../sandbox-body";
import { errorResponses, messageBody } from "../schema/common";
import { createBody, listQuery, sandboxBody, sandboxPage, startQuery } from "../schema/sandbox";
import {
  type App,
  type Context,
  clientGoneSignal,
  findSandbox,
  ONE_SANDBOX,
  scopeFor,
  sendSandbox,
  shapeFor,
  typed,
} from "./context";
import { findSnapshot } from "./snapshots";

const MAX_WAIT_SECONDS = 90;

const responses = { 200: sandboxBody, ...errorResponses };
const tags = ["sandboxes"];

/** Sandboxes: create, list, and by id or name get, start, stop, delete. */
export function sandboxRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { service, answers } = context;
  const { sandboxes } = context.backend;

  app.post(
    "/v1/sandboxes",
    { schema: { tags, querystring: startQuery, body: createBody, response: responses } },
    async (request, reply) => {
      const { start = false, ...wait } = request.query;
      const called = calledSnapshot(request.body);
      const snapshot = called === undefined ? undefined : await findCalled(context, request, called);
      const wanted = request.charged(() => readCreateRequest(request.body, snapshot));
      const options = {
        start,
        waitMs: waitMs(wait),
        owner: request.keyId,
        clientGone: clientGoneSignal(reply),
      };
      const sandbox = await service.create({
        ...wanted,
        spec: bounded(wanted.spec, context.config),
        ...options,
      });
      request.sandboxId = sandbox.id;
      // Filled in for whoever reconnects; the client that created keeps its own configuration.
      sandboxes.resolve(sandbox.id).catch(() => undefined);
      return sendSandbox(context, request, reply, sandbox);
    },
  );

  app.get(
    "/v1/sandboxes",
    {
      config: { longAnswer: true },
      schema: { tags, querystring: listQuery, response: { 200: sandboxPage, ...errorResponses } },
    },
    async (request, reply) => {
      const { limit, cursor, labels } = request.query;
      const page = await sandboxes.list({
        ...scopeFor(context, request),
        labels: labels === undefined ? {} : readLabels(labels),
        after: readCursor(cursor),
        limit: Math.min(limit, MAX_PAGE),
        charged: (work) => request.charged(work),
      });
      const shape = shapeFor(request);
      const bodyOf = (sandbox: Sandbox) => sandboxBodyOf(sandbox, shape);
      const made = request.charged(() =>
        answers.get(page.items, `page ${page.more} ${shape}`, () => pageOf(page, bodyOf)),
      );
      return sendJson(reply, made) as never;
    },
  );

  for (const [path, params] of ONE_SANDBOX) {
    const find = (request: FastifyRequest) => findSandbox(context, request, request.params as Reference);

    app.get(
      path,
      { config: { longAnswer: true }, schema: { tags, params, response: responses } },
      async (request, reply) => {
        const sandbox = await find(request);
        return sendSandbox(context, request, reply, (await sandboxes.resolve(sandbox.id)) ?? sandbox);
      },
    );
    app.delete(
      path,
      { schema: { tags, params, response: { 200: messageBody, ...errorResponses } } },
      async (request) => {
        const sandbox = await find(request);
        await service.remove(sandbox);
        return { message: `sandbox ${sandbox.name} deleted` };
      },
    );
    app.post(
      `${path}/start`,
      {
        config: { longAnswer: true },
        schema: { tags, params, querystring: startQuery, response: responses },
      },
      async (request, reply) =>
        sendSandbox(context, request, reply, await service.start(await find(request), waitMs(request.query))),
    );
    app.post(
      `${path}/stop`,
      { config: { freesRoom: true }, schema: { tags, params, response: responses } },
      async (request, reply) => sendSandbox(context, request, reply, await service.stop(await find(request))),
    );
  }
}

/** A create calls a snapshot by its id, or as a path does by its name. @throws ServiceError snapshotNotFound */
async function findCalled(context: Context, request: FastifyRequest, called: string): Promise<Snapshot> {
  const byId = await context.backend.snapshots.find({ id: called }, scopeFor(context, request));
  return findSnapshot(context, request, byId ? { id: called } : { name: called });
}

/** Life and idle time have an end also where the client has set none, so that one that was killed leaves nothing for ever. */
function bounded(spec: SandboxSpec, config: Config): SandboxSpec {
  const { lifecycle } = spec;
  const limit = (field: "max_duration_secs" | "idle_timeout_secs", most: number) => {
    const asked = lifecycle[field];
    if (most > 0 && asked !== undefined && asked > most)
      throw invalidSpec(`lifecycle.${field}: ${asked} exceeds the limit of ${most} seconds`);
    return asked ?? (most > 0 ? most : undefined);
  };
  return {
    ...spec,
    lifecycle: {
      ...lifecycle,
      max_duration_secs: limit("max_duration_secs", config.LIMIT_MAX_DURATION_SECONDS),
      idle_timeout_secs: limit("idle_timeout_secs", config.LIMIT_IDLE_TIMEOUT_SECONDS),
    },
  };
}

/** Without `wait_for` the answer does not wait for the boot. */
function waitMs({ wait_for, wait_timeout }: { wait_for?: string; wait_timeout?: number }): number {
  if (wait_for === undefined) {
    if (wait_timeout !== undefined) throw invalidRequest("wait_timeout: only valid with wait_for");
    return 0;
  }
  return Math.min(wait_timeout ?? MAX_WAIT_SECONDS, MAX_WAIT_SECONDS) * 1000;
}

function readLabels(text: string): Record<string, string> {
  try {
    return labelsSchema.parse(JSON.parse(text));
  } catch {
    throw invalidRequest("labels: expected a JSON object of strings");
  }
}
