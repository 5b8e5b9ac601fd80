import type * as z from "zod";
import { ConfigError } from "./errors";

/**
 * Reads a program's settings from its environment; every mistake is reported at once, in one {@link ConfigError}.
 * @param program what the message calls it
 * @param mayBeEmpty variables for which "" is a value; for all others it means "not set", since compose-like tools
 * can't leave one out
 */
export function readEnvironment<S extends z.ZodObject>(
  program: string,
  schema: S,
  environment: Record<string, string | undefined>,
  mayBeEmpty: string[] = [],
): z.infer<S> {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => value !== "" || mayBeEmpty.includes(name)),
  );
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    const name = issue.path.join(".");
    return `${name}=${JSON.stringify(environment[name] ?? "")}: ${issue.message}`;
  });
  throw new ConfigError(`The ${program}'s environment has ${lines.length} mistake(s):\n${lines.join("\n")}`);
}
