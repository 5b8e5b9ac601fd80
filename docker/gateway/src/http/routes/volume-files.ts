import { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import * as z from "zod";
import { invalidRequest, ServiceError } from "../../errors";
import { SharedPlaces } from "../../limits/shared-places";
import type { FilePath, VolumeFiles } from "../../sandboxes/volume-files";
import { errorResponses, idParams, messageBody, streamOf } from "../schema/common";
import { fileBody, fromToBody, pathBody } from "../schema/volume";
import { holdTransfer } from "../transfer";
import { fileBodyOf, fileListOf } from "../volume-file-body";
import { type App, type Context, endWithKey, scopeFor, typed } from "./context";

const BASE = "/v1/volumes/:id/files";
/** Lists that are being sent, of all keys: each has up to half a MiB in memory, for a reader that takes its time too. */
const MOST_LISTS = 128;
/** Requests for files that are under way or wait for their turns, of all keys: each takes memory. */
const MOST_REQUESTS = 1024;
type FilesOf = (request: FastifyRequest) => Promise<VolumeFiles>;

const tags = ["volumes"];
const params = idParams;
const headers = z.looseObject({ "x-msb-file-path": z.string().max(8192) });
const OK = { message: "ok" };

/** Of a route whose path travels in a header, so that it may hold anything. */
const reading = <T extends z.ZodType>(ok: T) => ({
  schema: { tags, params, headers, response: { 200: ok, ...errorResponses } },
});
const changing = <T extends z.ZodType>(body: T) => ({
  schema: { tags, params, body, response: { 200: messageBody, ...errorResponses } },
});

/** Files of a volume. */
export function volumeFileRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const requests = new SharedPlaces(MOST_REQUESTS, "requests for files");
  // The only way to the files: with a place, in the turns of the key, and as long as the client and its key are there.
  const filesOf: FilesOf = async (request) => {
    const { life, keyId } = request;
    life.check();
    life.hold(requests.take(keyId));
    endWithKey(context, request, () => request.raw.socket.destroy());
    const { id } = request.params as z.infer<typeof params>;
    const caller = { owner: keyId, signal: life.unanswered };
    return context.backend.volumes.files(id, scopeFor(context, request), caller);
  };

  const lists = new SharedPlaces(MOST_LISTS, "lists of folders");
  // Not typed: the answer is the text of what the schema says.
  plain.get(BASE, reading(z.object({ entries: z.array(fileBody) })), async (request, reply) => {
    holdTransfer(context, request);
    const path = pathOf(request);
    request.life.hold(lists.take(request.keyId));
    const parts = (await filesOf(request)).list(path);
    // A client that leaves closes the folder.
    request.life.hold(() => void parts.return(undefined).catch(() => undefined));
    const { value: first = [] } = await parts.next();
    const text = Readable.from(fileListOf(first, parts), { highWaterMark: 1 });
    return reply.type("application/json").send(text);
  });
  app.get(`${BASE}/stat`, reading(z.object({ metadata: fileBody })), async (request) => ({
    metadata: fileBodyOf(await (await filesOf(request)).stat(pathOf(request))),
  }));
  app.get(`${BASE}/exists`, reading(z.object({ exists: z.boolean() })), async (request) => ({
    exists: await (await filesOf(request)).exists(pathOf(request)),
  }));
  app.delete(BASE, reading(messageBody), async (request) => {
    const recursive = request.headers["x-msb-file-recursive"] === "true";
    await (await filesOf(request)).remove(pathOf(request), { recursive });
    return OK;
  });
  app.post(`${BASE}/mkdir`, changing(pathBody), async (request) => {
    await (await filesOf(request)).mkdir(Buffer.from(request.body.path));
    return OK;
  });
  app.post(`${BASE}/rename`, changing(fromToBody), async (request) => {
    const { from, to } = request.body;
    await (await filesOf(request)).rename(Buffer.from(from), Buffer.from(to));
    return OK;
  });
  transferRoutes(plain, context, filesOf);
}

/** Those that take as long as their files are large. */
function transferRoutes(plain: App, context: Context, filesOf: FilesOf): void {
  const { LIMIT_UPLOAD_BYTES: maxBytes, LIMIT_UPLOADS: maxUploads } = context.config;
  const uploads = new SharedPlaces(maxUploads, "uploads");
  const copies = new SharedPlaces(maxUploads, "copies");
  const app = typed(plain);

  app.post(`${BASE}/copy`, changing(fromToBody), async (request) => {
    holdTransfer(context, request);
    request.life.hold(copies.take(request.keyId));
    const { from, to } = request.body;
    await (await filesOf(request)).copy(Buffer.from(from), Buffer.from(to));
    return OK;
  });

  const bytes = streamOf("application/octet-stream", "the bytes");
  app.get(
    `${BASE}/content`,
    { schema: { tags, params, headers, response: { 200: bytes, ...errorResponses } } },
    async (request, reply) => {
      holdTransfer(context, request);
      const { size, content } = await (await filesOf(request)).read(pathOf(request));
      request.life.hold(() => content.destroy());
      return reply.type("application/octet-stream").header("content-length", size).send(content);
    },
  );

  // Only here is a body raw bytes of any type and length: it goes straight to the disk.
  plain.register(async (raw) => {
    raw.removeAllContentTypeParsers();
    raw.addContentTypeParser("*", (_request, payload, parsed) => parsed(null, payload));
    typed(raw).put(
      `${BASE}/content`,
      {
        ...reading(messageBody),
        bodyLimit: Number.MAX_SAFE_INTEGER,
        config: { endlessBody: true },
      },
      async (request, reply) => {
        holdTransfer(context, request);
        // What is left of a body that is refused is not read.
        reply.header("connection", "close");
        if (Number(request.headers["content-length"] ?? 0) > maxBytes)
          throw new ServiceError("tooLarge", `a file may have ${maxBytes} bytes at most`);
        const giveBack = uploads.take(request.keyId);
        try {
          const body = request.body instanceof Readable ? request.body : Readable.from([]);
          const content = body.iterator({ destroyOnReturn: false });
          await (await filesOf(request)).write(pathOf(request), content, { maxBytes });
        } finally {
          giveBack();
        }
        reply.removeHeader("connection");
        return OK;
      },
    );
  });
}

function pathOf(request: FastifyRequest): FilePath {
  const header = request.headers["x-msb-file-path"];
  if (typeof header !== "string" || !/^[A-Za-z0-9_-]*$/.test(header))
    throw invalidRequest("x-msb-file-path: expected a path in base64url without padding");
  return Buffer.from(header, "base64url");
}
