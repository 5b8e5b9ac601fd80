import * as z from "zod";

/** msb's own rule for names of sandboxes and volumes; checked before a name gets anywhere near a command line or a path. */
export const objectName = z
  .string()
  .max(128)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    "starts with a letter or digit, then letters, digits, '.', '-', '_'",
  );

/** `null`, absent and the value itself: clients send all three. */
export const optional = <T extends z.ZodType>(schema: T) =>
  schema
    .nullish()
    .transform((value) => value ?? undefined)
    .optional();

export const text = z
  .string()
  .max(1024 * 1024)
  .refine((value) => !value.includes("\0"), "holds a NUL character");

export const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "a UUID");

export const timestamp = z.iso.datetime({ offset: true });

export const errorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export const messageBody = z.object({ message: z.string() });

/** Labels of a sandbox or a volume. */
export const labels = z.record(z.string().min(1).max(256), z.string().max(4096));

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
