import * as z from "zod";
import { limited } from "../../sandboxes/fields";

/** Characters of a parameter in a path; for a longer one there is no route. */
export const MAX_PARAMETER = 1024;
export const idParams = z.object({ id: limited(MAX_PARAMETER) });
export const nameParams = z.object({ name: limited(MAX_PARAMETER) });

export const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "a UUID");

export const timestamp = z.iso.datetime({ offset: true });

export const errorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export const messageBody = z.object({ message: z.string() });

/** What every route may answer besides its own success. */
export const errorResponses = {
  400: errorBody,
  401: errorBody,
  403: errorBody,
  404: errorBody,
  408: errorBody,
  409: errorBody,
  413: errorBody,
  414: errorBody,
  415: errorBody,
  429: errorBody,
  431: errorBody,
  500: errorBody,
  502: errorBody,
  503: errorBody,
  504: errorBody,
  507: errorBody,
};

/** An answer that is a stream of another type than JSON. */
export const streamOf = (type: string, description: string) => ({
  description,
  content: { [type]: { schema: z.unknown() } },
});
