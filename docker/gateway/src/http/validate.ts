import type { FastifySchemaCompiler } from "fastify";
import type * as z from "zod";
import { toDotPath } from "zod/v4/core";
import { invalidRequest, invalidSpec } from "../errors";
import { createBody } from "./schema/sandbox";

/** Mistakes that one answer tells of. */
const MAX_MISTAKES = 10;
const MAX_CHARACTERS = 300;
/** zod ends at the first mistake by a field that it passes on, but that its types keep for itself. */
const AT_FIRST = { reportInput: true, abortEarly: true } as z.core.ParseContext<z.core.$ZodIssue>;
const NO_BODY = 'the body is empty: expected a JSON object, with the header "content-type: application/json"';
/** Values of a body all whose mistakes are looked for. */
const MAX_VALUES = 500;

/** Checks what a request brings by the route's schema; a failure is an error of the contract that says what is wrong where. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  return (data) => {
    // It ends at the first mistake: to find all of a body that is made of them takes long.
    const first = schema.safeParse(data, AT_FIRST);
    if (first.success) return { value: first.data };
    // Null is also what fastify hands over where there is no body.
    if (httpPart === "body" && data === null) return { error: invalidRequest(NO_BODY) };
    const error = isSmall(data) ? schema.safeParse(data, { reportInput: true }).error : undefined;
    const isSpec = schema === createBody && typeof data === "object" && data !== null && !Array.isArray(data);
    return { error: (isSpec ? invalidSpec : invalidRequest)(explain(error ?? first.error)) };
  };
};

/** Whether something has few values: then all its mistakes can be told. */
function isSmall(data: unknown): boolean {
  const left = [data];
  for (let values = 0; left.length > 0; values++) {
    if (values + left.length > MAX_VALUES) return false;
    const value = left.pop();
    if (typeof value === "object" && value !== null) for (const each of Object.values(value)) left.push(each);
  }
  return true;
}

/** The mistakes of a body in one line, each with its path. */
export function explain({ issues }: z.core.$ZodError): string {
  const lines = issues.slice(0, MAX_MISTAKES).map((issue) => {
    const at = issue.path.length ? `${toDotPath(issue.path)}: ` : "";
    return cut(`${cut(at)}${messageOf(issue)}`);
  });
  const more = issues.length - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}

function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code === "too_big" && typeof issue.input === "number")
    return `${issue.input} is too large; ${issue.maximum} is the most`;
  if (issue.code === "too_small" && typeof issue.input === "number")
    return `${issue.input} is too small; ${issue.minimum} is the least`;
  if (issue.code === "invalid_type" && issue.input === undefined)
    return `missing; expected ${issue.expected}`;
  return issue.message;
}

const cut = (line: string): string =>
  line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS)}…` : line;
