import { isIP } from "node:net";
import * as z from "zod";
import { canonicalAddress, formatSize, isPort, MIB, nearest, parseSize } from "./values";

/** What the settings table and the error messages say about a setting. */
export interface SettingMeta {
  /** One sentence, for the settings table. */
  description: string;
  /** What a value may be, as the end of the sentence "accepted: …". */
  accepts: string;
  /** A value that is accepted and isn't the default, as it is typed. */
  example: string;
  /** The unit of the parsed value, where it has one. */
  unit?: string;
  /** A value that the user may have meant, from the one given. It is used only if it is accepted. */
  suggest?: (given: string) => string | undefined;
}

/** What is known of a setting besides its type, by its schema. */
export const settingMeta = z.registry<SettingMeta>();

/** true or false; the text of them too, because Pulumi's configuration holds text only. */
export function flag(initial: boolean, description: string) {
  return z
    .union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")])
    .prefault(initial)
    .register(settingMeta, {
      description,
      accepts: "true or false",
      example: String(!initial),
      suggest: (given) => {
        if (/^(y|yes|on|t|true|1)$/i.test(given)) return "true";
        return /^(n|no|off|f|false|0)$/i.test(given) ? "false" : undefined;
      },
    });
}

/** A number, or the text of one. */
function number(isAccepted: (value: number) => boolean) {
  return z
    .union([z.number(), z.string().regex(/^\s*[+-]?\d+(\.\d+)?\s*$/)])
    .transform(Number)
    .refine(isAccepted);
}

/** A whole number in a range. */
export function integer(initial: number, from: number, to: number, meta: Omit<SettingMeta, "accepts">) {
  const unit = meta.unit ? ` of ${meta.unit}` : "";
  return number((value) => Number.isInteger(value) && value >= from && value <= to)
    .prefault(initial)
    .register(settingMeta, { ...meta, accepts: `a whole number${unit} from ${from} to ${to}` });
}

/** A whole number without a default. */
export function optionalInteger(from: number, to: number, meta: Omit<SettingMeta, "accepts">) {
  const unit = meta.unit ? ` of ${meta.unit}` : "";
  return number((value) => Number.isInteger(value) && value >= from && value <= to)
    .optional()
    .register(settingMeta, { ...meta, accepts: `a whole number${unit} from ${from} to ${to}` });
}

/** A TCP port. */
export function port(initial: number, description: string) {
  const accepts = "a TCP port, a whole number from 1 to 65535";
  return number(isPort).prefault(initial).register(settingMeta, { description, accepts, example: "8080" });
}

/** CPUs, parts of one included. */
export function cpus(initial: number, example: string, description: string) {
  const accepts = "a number of CPUs from 0.1 to 1024, like 2 or 0.5";
  return number((value) => value >= 0.1 && value <= 1024)
    .prefault(initial)
    .register(settingMeta, { description, accepts, example, unit: "CPUs" });
}

/** A size in bytes, or the text of one; whole mebibytes, because Docker's provider counts memory in them. */
export function size(
  initial: string,
  range: { from: string; to: string },
  example: string,
  description: string,
) {
  const [from = 0, to = 0] = [parseSize(range.from), parseSize(range.to)];
  return z
    .union([z.string(), z.number()])
    .transform((text, context) => {
      const bytes = parseSize(text);
      const problem = sizeProblem(bytes, from, to);
      if (bytes !== undefined && problem === undefined) return bytes;
      context.addIssue({ code: "custom", message: problem ?? "" });
      return z.NEVER;
    })
    .prefault(initial)
    .register(settingMeta, {
      description,
      accepts: `a size from ${range.from} to ${range.to} in whole mebibytes, like 4G, 512M or 1.5g`,
      example,
      unit: "bytes",
    });
}

function sizeProblem(bytes: number | undefined, from: number, to: number): string | undefined {
  if (bytes === undefined) return "not a size";
  if (bytes < from) return `${bytes < 1024 ? `${bytes} bytes` : formatSize(bytes)} is too little`;
  if (bytes > to) return `${formatSize(bytes)} is too much`;
  return bytes % MIB === 0 ? undefined : "not a whole number of mebibytes";
}

/** `a, b or c`; of two words at least. */
export function inWords(words: readonly string[], last: "and" | "or"): string {
  return `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

/** One of a few words. */
export function choice<const Words extends readonly string[]>(
  words: Words,
  initial: Words[number],
  meta: Pick<SettingMeta, "description" | "example"> & Partial<SettingMeta>,
) {
  const accepts = inWords(words, "or");
  return z
    .enum(words)
    .prefault(initial as never)
    .register(settingMeta, { accepts, suggest: (given) => nearest(given, words), ...meta });
}

/** A text: `pulumi config set --path` stores one that looks like a number or a truth value as that. */
export const asText = z.union([
  z.string(),
  z.number().refine(Number.isSafeInteger).transform(String),
  z.boolean().transform(String),
]);

/** A text that is accepted or not. */
export function text(initial: string, isAccepted: RegExp | ((value: string) => boolean), meta: SettingMeta) {
  return checkedText(isAccepted).prefault(initial).register(settingMeta, meta);
}

/** An IP address, which is read in its canonical spelling. */
export function address(initial: string, meta: SettingMeta) {
  return checkedText((value) => isIP(value) !== 0)
    .transform(canonicalAddress)
    .prefault(initial)
    .register(settingMeta, meta);
}

/** A text without a default; empty counts as not given. */
export function optionalText(isAccepted: RegExp | ((value: string) => boolean), meta: SettingMeta) {
  return checkedText((value) => value === "" || matches(isAccepted, value))
    .transform((value) => value || undefined)
    .optional()
    .register(settingMeta, meta);
}

function checkedText(isAccepted: RegExp | ((value: string) => boolean)) {
  return asText.refine((value) => matches(isAccepted, value));
}

function matches(isAccepted: RegExp | ((value: string) => boolean), value: string): boolean {
  return typeof isAccepted === "function" ? isAccepted(value) : isAccepted.test(value);
}
