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

/** Labels of a sandbox or a volume. */
export const labels = z.record(z.string().min(1).max(256), z.string().max(4096));
