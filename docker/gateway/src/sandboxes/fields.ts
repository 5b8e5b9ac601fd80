import * as z from "zod";

/*
 * The parts of every schema: each string, list and record has a bound. Lists and records are counted before their
 * entries are looked at, so that what is far too large costs no more than what is just too large.
 */

/** A string of at most `max` UTF-16 units. */
export const limited = (max: number) =>
  z.string().max(max, { error: ({ input }) => `has ${lengthOf(input)} characters; ${max} is the most` });

/** The same without NUL, which neither a path nor an argument can hold. */
export const text = (max: number) =>
  limited(max).refine((value) => !value.includes("\0"), "holds a NUL character");

/** A list of at most `max` entries. */
export const list = <T extends z.ZodType>(element: T, max: number) =>
  z.array(element).max(max, { error: ({ input }) => `has ${lengthOf(input)} entries; ${max} is the most` });

/** An object of at most `max` entries whose keys are the client's. */
export function record<K extends z.ZodString, V extends z.ZodType>(key: K, value: V, max: number) {
  const refuseLarge = (given: unknown, context: z.RefinementCtx) => {
    const count = typeof given === "object" && given !== null ? Object.keys(given).length : 0;
    if (count <= max) return given;
    context.addIssue(`has ${count} entries; ${max} is the most`);
    return z.NEVER;
  };
  return z.preprocess(refuseLarge, z.record(key, value).meta({ maxProperties: max }));
}

/** Bytes as JSON has them, a list of numbers; base64 from here on. */
export const bytes = (max: number) =>
  z
    .custom<number[]>(isBytes, "is not a list of bytes, 0 to 255")
    .refine((given) => given.length <= max, {
      error: ({ input }) => `has ${lengthOf(input)} bytes; ${max} is the most`,
    })
    .meta({ type: "array", items: { type: "integer", minimum: 0, maximum: 255 }, maxItems: max })
    .transform((given) => Buffer.from(given).toString("base64"));

function isBytes(value: unknown): boolean {
  // A loop: a hundred times as fast as a schema for each number.
  if (!Array.isArray(value)) return false;
  for (const each of value) if (!(Number.isInteger(each) && each >= 0 && each <= 255)) return false;
  return true;
}

const lengthOf = (value: unknown): number => (value as { length: number }).length;

/**
 * An object with those fields. Another one is refused, so that nothing that a client asks for is dropped, unless
 * it is as good as absent: newer clients send fields that they don't use.
 */
export const known = <T extends z.ZodRawShape>(shape: T) =>
  z
    .object(shape)
    .catchall(z.custom<unknown>(isUnset, { error: "not supported by this server", abort: true }));

function isUnset(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** `null`, absent and the value itself: clients send all three. */
export const optional = <T extends z.ZodType>(schema: T) =>
  schema
    .nullish()
    .transform((value) => value ?? undefined)
    .optional();

/** msb's own rule for names of sandboxes and volumes; checked before a name gets anywhere near a command line or a path. */
export const objectName = limited(128).regex(
  /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
  "starts with a letter or digit, then letters, digits, '.', '-', '_'",
);

/** UTF-16 units of all labels of a sandbox or a volume together. */
export const MAX_LABELS = 16 * 1024;

/** Labels of a sandbox or a volume. */
export const labels = record(limited(256).min(1), limited(4096), 128).refine(
  (given) => sizeOfLabels(given) <= MAX_LABELS,
  {
    error: ({ input }) => `${sizeOfLabels(input)} characters together; ${MAX_LABELS} is the most`,
    abort: true,
  },
);

/** UTF-16 units of labels. */
export const sizeOfLabels = (given: unknown): number =>
  Object.entries(given as Record<string, string>).reduce(
    (sum, [key, value]) => sum + key.length + value.length,
    0,
  );

/** Whether no entry names the same as another. */
export const areUnique = (values: unknown[]): boolean => new Set(values).size === values.length;
