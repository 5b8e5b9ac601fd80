import { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import * as z from "zod";
import { VolumeFiles } from "../../backends/msb/volume-files";
import { invalidRequest } from "../../errors";
import { errorResponses, messageBody, streamOf } from "../schema/common";
import { createVolumeBody, fileBody, fromToBody, pathBody, volumeBody } from "../schema/volume";
import { type App, type Context, holdTransfer, ownerFor, typed } from "./context";

const tags = ["volumes"];
const params = z.object({ id: z.string() });
const done = { 200: messageBody, ...errorResponses };
const OK = { message: "ok" };

/** Named volumes, and the default one. */
export function volumeRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { volumes } = context;
  app.get(
    "/v1/volumes",
    { schema: { tags, response: { 200: z.array(volumeBody), ...errorResponses } } },
    (request) => volumes.list(ownerFor(context, request)),
  );
  app.get(
    "/v1/volumes/default",
    { schema: { tags, response: { 200: volumeBody, ...errorResponses } } },
    (request) => volumes.defaultVolume(ownerFor(context, request)),
  );
  app.post(
    "/v1/volumes",
    { schema: { tags, body: createVolumeBody, response: { 200: volumeBody, ...errorResponses } } },
    (request) => volumes.create(request.body, request.keyId),
  );
  app.delete("/v1/volumes/:id", { schema: { tags, params, response: done } }, async (request) => {
    await volumes.remove(request.params.id, ownerFor(context, request));
    return { message: "volume deleted" };
  });
}

/** Files of a volume. The path travels in a header, so that it may hold anything. */
export function volumeFileRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const files = async (request: FastifyRequest) => {
    const { id } = request.params as z.infer<typeof params>;
    return new VolumeFiles(await context.volumes.folder(id, ownerFor(context, request)));
  };
  const base = "/v1/volumes/:id/files";
  const headers = z.looseObject({ "x-msb-file-path": z.string().max(8192) });
  const read = <T extends z.ZodType>(ok: T) => ({
    tags,
    params,
    headers,
    response: { 200: ok, ...errorResponses },
  });

  app.get(base, { schema: read(z.object({ entries: z.array(fileBody) })) }, async (request) => ({
    entries: await (await files(request)).list(pathOf(request)),
  }));
  app.get(`${base}/stat`, { schema: read(z.object({ metadata: fileBody })) }, async (request) => ({
    metadata: await (await files(request)).stat(pathOf(request)),
  }));
  app.get(`${base}/exists`, { schema: read(z.object({ exists: z.boolean() })) }, async (request) => ({
    exists: await (await files(request)).exists(pathOf(request)),
  }));
  app.get(
    `${base}/content`,
    {
      schema: {
        tags,
        params,
        headers,
        response: { 200: streamOf("application/octet-stream", "the bytes"), ...errorResponses },
      },
    },
    async (request, reply) => {
      holdTransfer(context, request);
      const { file, size } = await (await files(request)).read(pathOf(request));
      // Up to the size as it was: the length is announced, and a guest may be writing.
      const content = size > 0 ? file.createReadStream({ end: size - 1 }) : Readable.from([]);
      content.once("close", () => file.close().catch(() => undefined));
      request.life.hold(() => content.destroy());
      return reply.type("application/octet-stream").header("content-length", size).send(content);
    },
  );
  app.delete(base, { schema: read(messageBody) }, async (request) => {
    const recursive = request.headers["x-msb-file-recursive"] === "true";
    await (await files(request)).remove(pathOf(request), recursive);
    return OK;
  });
  app.post(`${base}/mkdir`, { schema: { tags, params, body: pathBody, response: done } }, async (request) => {
    await (await files(request)).mkdir(request.body.path);
    return OK;
  });
  app.post(
    `${base}/copy`,
    { schema: { tags, params, body: fromToBody, response: done } },
    async (request) => {
      await (await files(request)).copy(request.body.from, request.body.to);
      return OK;
    },
  );
  app.post(
    `${base}/rename`,
    { schema: { tags, params, body: fromToBody, response: done } },
    async (request) => {
      await (await files(request)).rename(request.body.from, request.body.to);
      return OK;
    },
  );

  // Only here is a body raw bytes of any type and length: it goes straight to the disk.
  plain.register(async (raw) => {
    raw.removeAllContentTypeParsers();
    raw.addContentTypeParser("*", (_request, payload, parsed) => parsed(null, payload));
    typed(raw).put(
      `${base}/content`,
      {
        schema: { tags, params, headers, response: done },
        bodyLimit: Number.MAX_SAFE_INTEGER,
        config: { endlessBody: true },
      },
      async (request) => {
        holdTransfer(context, request);
        const content = request.body instanceof Readable ? request.body : Readable.from([]);
        await (await files(request)).write(pathOf(request), content);
        return OK;
      },
    );
  });
}

function pathOf(request: FastifyRequest): string {
  const header = request.headers["x-msb-file-path"];
  if (typeof header !== "string" || !/^[A-Za-z0-9_-]*$/.test(header))
    throw invalidRequest("x-msb-file-path: expected a path in base64url without padding");
  return Buffer.from(header, "base64url").toString("utf8");
}
