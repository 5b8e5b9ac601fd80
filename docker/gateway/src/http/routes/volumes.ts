import { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import * as z from "zod";
import { volumeNotFound } from "../../errors";
import { SharedPlaces } from "../../limits/shared-places";
import type { Volume } from "../../sandboxes/backend";
import { errorResponses, idParams, messageBody } from "../schema/common";
import { createVolumeBody, type VolumeBody, volumeBody } from "../schema/volume";
import { type App, type Context, scopeFor, typed } from "./context";

/** Lists that are being sent, of all keys. */
const MOST_LISTS = 128;
/** Characters of a list that are made at once: all of it would hold the event loop, and be in memory until it is read. */
const TEXT_AT_ONCE = 64 * 1024;
const tags = ["volumes"];
const params = idParams;
const done = { 200: messageBody, ...errorResponses };

/** Named volumes, and the default one, which is there for all keys or, where each has its own things, for none. */
export function volumeRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { volumes } = context.backend;
  const shared = async (request: FastifyRequest) =>
    scopeFor(context, request).owner === undefined ? volumeBodyOf(await volumes.shared()) : undefined;
  const lists = new SharedPlaces(MOST_LISTS, "lists of volumes");
  // Not typed: the answer is the text of what the schema says. The contract knows no pages of volumes.
  plain.get(
    "/v1/volumes",
    {
      config: { longAnswer: true },
      schema: { tags, response: { 200: z.array(volumeBody), ...errorResponses } },
    },
    async (request, reply) => {
      request.life.hold(lists.take(request.keyId));
      const named = await volumes.list(scopeFor(context, request), (work) => request.charged(work));
      const parts = textOf(await shared(request), named);
      const text = Readable.from(charged(request, parts), { highWaterMark: 1 });
      return reply.type("application/json; charset=utf-8").send(text);
    },
  );
  app.get(
    "/v1/volumes/default",
    { schema: { tags, response: { 200: volumeBody, ...errorResponses } } },
    async (request) => {
      const found = await shared(request);
      if (!found) throw volumeNotFound("default");
      return found;
    },
  );
  app.post(
    "/v1/volumes",
    { schema: { tags, body: createVolumeBody, response: { 200: volumeBody, ...errorResponses } } },
    async (request) => {
      const { name, labels, capacity_gib } = request.body;
      const owner = request.keyId;
      return volumeBodyOf(
        await volumes.create({ name, labels, owner, capacityGib: capacity_gib ?? undefined }),
      );
    },
  );
  app.delete("/v1/volumes/:id", { schema: { tags, params, response: done } }, async (request) => {
    await volumes.remove(request.params.id, scopeFor(context, request));
    return { message: "volume deleted" };
  });
}

/** The same, each made at the cost of the request's key. */
function* charged(request: FastifyRequest, parts: Generator<string>): Generator<string> {
  for (;;) {
    const { done, value } = request.charged(() => parts.next());
    if (done) return;
    yield value;
  }
}

/** The answer to a list, in pieces. */
function* textOf(first: VolumeBody | undefined, named: Volume[]): Generator<string> {
  let text = `[${first ? JSON.stringify(first) : ""}`;
  let comma = first ? "," : "";
  for (const volume of named) {
    text += comma + JSON.stringify(volumeBodyOf(volume));
    comma = ",";
    if (text.length < TEXT_AT_ONCE) continue;
    yield text;
    text = "";
  }
  yield `${text}]`;
}

function volumeBodyOf(volume: Volume): VolumeBody {
  const { id, name, labels, usedBytes, capacityBytes, createdAt, updatedAt } = volume;
  return {
    ...{ id, name, storage: "block", status: "active", labels },
    kind: name === null ? "host" : "managed",
    used_bytes: usedBytes,
    capacity_bytes: capacityBytes,
    created_at: createdAt,
    updated_at: updatedAt,
  };
}
