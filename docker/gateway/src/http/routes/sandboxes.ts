import * as z from "zod";
import type { SandboxRecord } from "../../backends/msb/sandbox-record";
import { invalidRequest } from "../../errors";
import { labels as labelsSchema } from "../../sandboxes/fields";
import { readCreateRequest } from "../create-request";
import { PageCache } from "../page-cache";
import { clientShape } from "../sandbox-body";
import { errorResponses, idParams, messageBody, nameParams } from "../schema/common";
import { createBody, listQuery, sandboxBody, sandboxPage, startQuery } from "../schema/sandbox";
import {
  type App,
  bodyFor,
  type Context,
  cutOffSignal,
  findSandbox,
  ownerFor,
  type Reference,
  typed,
} from "./context";

const MAX_PAGE = 500;
const MAX_WAIT_SECONDS = 90;

const responses = { 200: sandboxBody, ...errorResponses };
const tags = ["sandboxes"];

/** Sandboxes: create, list, and by id or name get, start, stop, delete. */
export function sandboxRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { sandboxes } = context;
  const pages = new PageCache(() => sandboxes.registry.revision());

  app.post(
    "/v1/sandboxes",
    { schema: { tags, querystring: startQuery, body: createBody, response: responses } },
    async (request, reply) => {
      const { start = false, ...wait } = request.query;
      const options = { start, waitMs: waitMs(wait), owner: request.keyId, cutOff: cutOffSignal(reply) };
      const wanted = readCreateRequest(request.body);
      const owner = ownerFor(context, request);
      if (owner !== undefined) await context.volumes.checkMounts(wanted.spec.mounts, owner);
      const record = await sandboxes.create(wanted, options);
      request.sandboxId = record.id;
      // Filled in for whoever reconnects; the client that created keeps its own configuration.
      sandboxes.registry.resolved(record).catch(() => undefined);
      return bodyFor(context, request, record);
    },
  );

  app.get(
    "/v1/sandboxes",
    { schema: { tags, querystring: listQuery, response: { 200: sandboxPage, ...errorResponses } } },
    async (request, reply) => {
      const { limit, cursor, labels } = request.query;
      await sandboxes.registry.reconcile();
      const shape = clientShape(request.headers["user-agent"]);
      const owner = ownerFor(context, request);
      const text = pages.get(JSON.stringify([shape, limit, cursor, labels, owner]), () => {
        const wanted = labels === undefined ? {} : readLabels(labels);
        const after = cursor === undefined ? undefined : readCursor(cursor);
        const rows = listed(sandboxes.registry.store.all(), wanted, owner, after);
        const page = rows.slice(0, Math.min(limit, MAX_PAGE));
        const last = page.at(-1);
        return {
          data: page.map((record) => bodyFor(context, request, record)),
          next_cursor: last && rows.length > page.length ? writeCursor(last) : null,
        };
      });
      return reply.type("application/json; charset=utf-8").send(text as never);
    },
  );

  for (const [path, params] of [
    ["/v1/sandboxes/by-name/:name", nameParams],
    ["/v1/sandboxes/:id", idParams],
  ] as const) {
    const find = (request: Parameters<typeof findSandbox>[1]) =>
      findSandbox(context, request, request.params as Reference);

    app.get(path, { schema: { tags, params, response: responses } }, async (request) => {
      const record = await sandboxes.registry.resolved(await find(request));
      return bodyFor(context, request, record);
    });
    app.delete(
      path,
      { schema: { tags, params, response: { 200: messageBody, ...errorResponses } } },
      async (request) => {
        const record = await find(request);
        await sandboxes.remove(record);
        return { message: `sandbox ${record.name} deleted` };
      },
    );
    app.post(
      `${path}/start`,
      { schema: { tags, params, querystring: startQuery, response: responses } },
      async (request) => {
        const record = await sandboxes.start(await find(request), { waitMs: waitMs(request.query) });
        return bodyFor(context, request, record);
      },
    );
    app.post(
      `${path}/stop`,
      { config: { freesRoom: true }, schema: { tags, params, response: responses } },
      async (request) => {
        const record = await sandboxes.stop(await find(request));
        return bodyFor(context, request, record);
      },
    );
  }
}

/** Without `wait_for` the answer does not wait for the boot. */
function waitMs({ wait_for, wait_timeout }: { wait_for?: string; wait_timeout?: number }): number {
  if (wait_for === undefined) {
    if (wait_timeout !== undefined) throw invalidRequest("wait_timeout: only valid with wait_for");
    return 0;
  }
  return Math.min(wait_timeout ?? MAX_WAIT_SECONDS, MAX_WAIT_SECONDS) * 1000;
}

type Position = { createdAt: string; id: string };
const position = z.tuple([z.string(), z.string()]);

/** The records with all those labels, of one key or of all, after a position, in the order of their creation. */
function listed(
  all: Iterable<SandboxRecord>,
  wanted: Record<string, string>,
  owner?: string,
  after?: Position,
): SandboxRecord[] {
  const pairs = Object.entries(wanted);
  const rows = [...all].filter((record) => {
    if (record.phase === "gone" || record.phase === "abandoned") return false;
    if (owner !== undefined && record.owner !== owner) return false;
    if (after && compare(record, after) <= 0) return false;
    const labels = record.spec?.labels ?? record.resolved?.labels ?? {};
    return pairs.every(([key, value]) => labels[key] === value);
  });
  return rows.sort(compare);
}

function compare(a: Position, b: Position): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}

function readLabels(text: string): Record<string, string> {
  try {
    return labelsSchema.parse(JSON.parse(text));
  } catch {
    throw invalidRequest("labels: expected a JSON object of strings");
  }
}

function readCursor(text: string): Position {
  try {
    const [createdAt, id] = position.parse(JSON.parse(Buffer.from(text, "base64url").toString("utf8")));
    return { createdAt, id };
  } catch {
    throw invalidRequest("cursor: not one of this server's");
  }
}

const writeCursor = ({ createdAt, id }: Position): string =>
  Buffer.from(JSON.stringify([createdAt, id])).toString("base64url");
