import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { outputs } from "../../../components/outputs";
import type { SettingsInput } from "../../../components/settings/schema";
import { settingsTable } from "../../../docs/settings-table";
import { projectRoot } from "../../../setup/project";

/** What is read of a schema. */
interface Schema {
  name: string;
  dependencies: unknown[];
  resources: Record<
    string,
    {
      inputProperties: Record<string, { plain?: boolean }>;
      properties: Record<string, unknown>;
      requiredInputs: string[];
    }
  >;
  types: Record<string, { properties?: Record<string, unknown>; enum?: { value: string }[] }>;
}

let made: Schema;
beforeAll(async () => {
  const { schema } = await import(join(projectRoot, "package/schema.mjs"));
  made = schema(projectRoot, outputs);
}, 120_000);
const service = () => made.resources["microsandbox:index:Microsandbox"];
const keys = settingsTable().map(({ key }) => key);

it("has the service alone, with all of its args, none of which is required", () => {
  expect(made.name).toBe("microsandbox");
  expect(Object.keys(made.resources)).toEqual(["microsandbox:index:Microsandbox"]);
  const ofStacks = ["hosts", "cluster"];
  const settings = keys.filter(
    (key) => !/\./.test(key) && !ofStacks.includes(key),
  ) as (keyof SettingsInput)[];
  expect(Object.keys(service()?.inputProperties ?? {}).sort()).toEqual(settings.sort());
  expect(service()?.requiredInputs).toEqual([]);
});

it("takes what needn't be known early as an input of any kind", () => {
  const plain = Object.entries(service()?.inputProperties ?? {}).flatMap(([key, { plain }]) =>
    plain ? [key] : [],
  );
  for (const key of ["host", "apiKey", "registryPassword", "memoryLimit", "hostPort", "keys"])
    expect(plain).not.toContain(key);
  for (const key of ["devMode", "kvmCheck", "privileged"]) expect(plain).toContain(key);
});

it("has a type for each group of settings", () => {
  const fields = keys.filter((key) => key.startsWith("limits.")).map((key) => key.slice("limits.".length));
  expect(Object.keys(made.types["microsandbox:index:Limits"]?.properties ?? {}).sort()).toEqual(
    fields.sort(),
  );
  expect(made.types["microsandbox:index:KvmCheckLevel"]?.enum?.map(({ value }) => value)).toEqual([
    "off",
    "device",
    "boot",
  ]);
});

it("has outputs that need no other package's SDK", () => {
  expect(Object.keys(service()?.properties ?? {})).toEqual([...outputs]);
  expect(made.dependencies).toEqual([]);
  expect(JSON.stringify(made)).not.toMatch(/"\$ref":"\/docker/);
});
