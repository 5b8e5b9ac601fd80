import * as z from "zod";
import { errorResponses, idParams, messageBody } from "../schema/common";
import { createVolumeBody, volumeBody } from "../schema/volume";
import { type App, type Context, ownerFor, typed } from "./context";

const tags = ["volumes"];
const params = idParams;
const done = { 200: messageBody, ...errorResponses };

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
