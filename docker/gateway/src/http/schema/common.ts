import * as z from "zod";

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
  415: errorBody,
  429: errorBody,
  431: errorBody,
  502: errorBody,
};

/** An answer that is a stream of another type than JSON. */
export const streamOf = (type: string, description: string) => ({
  description,
  content: { [type]: { schema: z.unknown() } },
});
