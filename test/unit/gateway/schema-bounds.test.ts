import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import * as fields from "../../../docker/gateway/src/sandboxes/fields";
import { TestGateway } from "./harness";

type Json = Record<string, unknown>;

/** The places of a JSON schema where a client may send as much as it likes. */
function unbounded(schema: Json, path = "$"): string[] {
  const found: string[] = [];
  const under = (inner: unknown, at: string) => {
    if (typeof inner === "object" && inner !== null) found.push(...unbounded(inner as Json, at));
  };
  const { anyOf, oneOf, allOf, type, properties, items, prefixItems, additionalProperties } = schema;
  const choices = [anyOf, oneOf, allOf].flatMap((each) => (Array.isArray(each) ? each : []));
  for (const [index, choice] of choices.entries()) under(choice, `${path}<${index}>`);
  const isFixed = "const" in schema || "enum" in schema;
  if (choices.length === 0 && type === undefined && !isFixed) return [`${path}: anything`];
  if (type === "string" && !isFixed && schema.maxLength === undefined) found.push(`${path}: string`);
  if (type === "array") {
    if (schema.maxItems === undefined && !(Array.isArray(prefixItems) && !items))
      found.push(`${path}: array`);
    under(items, `${path}[]`);
    for (const [index, item] of Object.entries(prefixItems ?? {})) under(item, `${path}[${index}]`);
  }
  for (const [key, inner] of Object.entries(properties ?? {})) under(inner, `${path}.${key}`);
  // Objects that take further fields keep none that is set (create-fields.test.ts), or nothing at all of them.
  const isOpen =
    typeof additionalProperties === "object" && Object.keys(additionalProperties ?? {}).length > 0;
  if (isOpen) {
    if (schema.maxProperties === undefined) found.push(`${path}: record`);
    under(additionalProperties, `${path}{}`);
    under(schema.propertyNames, `${path}{key}`);
  }
  return found;
}

const inputOf = (schema: z.ZodType) =>
  z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Json;

/** Of what the server answers with, which it makes itself. */
const ANSWERS =
  /^(errorBody|messageBody|sandboxBody|sandboxPage|forksBody|modificationPlanBody|snapshotBody|snapshotPage|snapshotOperationBody|snapshotManifest|volumeBody|fileBody|uuid|timestamp)$/;

describe("every field has a bound", () => {
  test("of every route: body, query, headers and parameters", async () => {
    const gateway = await TestGateway.start();
    const paths = (
      gateway.gateway.app.swagger() as unknown as { paths: Record<string, Record<string, Json>> }
    ).paths;
    const inputs = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, operation]) => {
        const where = `${method} ${path}`;
        const parameters = (operation.parameters ?? []) as { name: string; in: string; schema: Json }[];
        const content =
          (operation.requestBody as { content?: Record<string, { schema: Json }> })?.content ?? {};
        return [
          ...parameters.map((each) => [`${where} ${each.in} ${each.name}`, each.schema] as const),
          ...Object.entries(content).map(([type, { schema }]) => [`${where} ${type}`, schema] as const),
        ];
      }),
    );
    expect(inputs.length).toBeGreaterThan(40);
    expect(inputs.flatMap(([where, schema]) => unbounded(schema, where))).toEqual([]);
  });

  test("of every schema, whether a route has it or not", async () => {
    const source = join(__dirname, "../../../docker/gateway/src");
    const files = ["sandboxes", "http/schema"].flatMap((folder) =>
      readdirSync(join(source, folder), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".ts"))
        .map((file) => join(source, folder, file)),
    );
    const all = await Promise.all(files.map(async (file) => [file, (await import(file)) as object] as const));
    const schemas = all.flatMap(([file, exported]) =>
      Object.entries(exported)
        .filter(([name, value]) => value instanceof z.ZodType && !ANSWERS.test(name) && name !== "storedSpec")
        .map(([name, value]) => [`${file.split("/").at(-1)} ${name}`, value as z.ZodType] as const),
    );
    expect(schemas.length).toBeGreaterThan(12);
    expect(schemas.flatMap(([where, schema]) => unbounded(inputOf(schema), where))).toEqual([]);
  });

  test.each<[string, z.ZodType]>([
    ["a string", z.string()],
    ["a string in a list", fields.list(z.string(), 3)],
    ["a list", z.array(z.int())],
    ["a list that is optional", fields.optional(z.array(fields.limited(3)))],
    ["a record", z.record(fields.limited(3), fields.limited(3))],
    ["a key of a record", fields.record(z.string(), fields.limited(3), 3)],
    ["a value of a record", fields.record(fields.limited(3), z.string(), 3)],
    ["one of a choice", z.union([z.int(), z.string().regex(/^a*$/)])],
    ["one of a tuple", z.tuple([z.string()])],
    ["whatever", z.unknown()],
  ])("and the test would find %s", (_what, schema) => {
    expect(unbounded(inputOf(fields.known({ here: schema })))).toHaveLength(1);
  });
});
