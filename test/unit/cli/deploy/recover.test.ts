import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Approve } from "../../../../cli/consent";
import { recoverStack } from "../../../../cli/deploy/recover";
import type { Pulumi } from "../../../../cli/pulumi";
import type { SetupHost } from "../../../../cli/stack";
import { createReporter } from "../../../../setup/report";
import { UserError } from "../../../../setup/user-error";

const NAME = "microsandbox-shared";
let data = "";
const before = process.env.XDG_DATA_HOME;

beforeAll(() => {
  data = mkdtempSync(join(tmpdir(), "recover-test-"));
  process.env.XDG_DATA_HOME = data;
  const host = join(data, "microsandbox-stack/emulated-hosts", NAME);
  mkdirSync(host, { recursive: true });
  // A host that was started once and does not run; without its settings it can't be resumed either.
  writeFileSync(join(host, "generation"), "1\n");
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_DATA_HOME;
  else process.env.XDG_DATA_HOME = before;
  rmSync(data, { recursive: true });
});

const component = "urn:pulumi:s::p::microsandbox:index:Microsandbox::microsandbox";
const service = { urn: component, type: "microsandbox:index:Microsandbox" };
const machine = {
  ...{ urn: `${component}$command::microsandbox-host-emulated-machine`, parent: component },
  type: "command:local:Command",
};

/** Recovers a stack whose state has these resources; what it says, and the error if it fails. */
async function recovered(
  resources: object[],
  approve?: Approve,
  others: SetupHost[] = [],
): Promise<{ said: string[]; error: unknown }> {
  const said: string[] = [];
  const host = { name: "default", host: "emulated", baseName: NAME } as SetupHost;
  const read = async () => JSON.stringify({ deployment: { resources } });
  const pulumi = { read } as unknown as Pulumi;
  const report = createReporter({ write: (line) => said.push(line) });
  const error = await recoverStack("shared", [host, ...others], pulumi, report, approve).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { said, error };
}

it("starts none that is not approved", async () => {
  const refuse: Approve = async (repairs) => {
    throw new Error(`refused: ${repairs.join()}`);
  };
  const { error } = await recovered([service, machine], refuse);
  expect(String(error)).toMatch(/refused: The emulated host microsandbox-shared is not running/);
});

it("starts a stopped emulated host only if this stack's state has made it", async () => {
  expect(await recovered([])).toEqual({ said: [], error: undefined });
  expect(await recovered([service])).toEqual({ said: [], error: undefined });
  const own = await recovered([service, machine]);
  expect(own.said).toEqual([expect.stringContaining(`${NAME} is not running: starting it again`)]);
  expect(own.error).toBeInstanceOf(UserError);
  expect(String(own.error)).toMatch(/can't be started[\s\S]*To try again: .* resume/);
});

it("goes on with the other hosts of a stack where one can't be started", async () => {
  const other = { name: "other", host: "local", baseName: "microsandbox-other" } as SetupHost;
  const { said, error } = await recovered([service, machine], undefined, [other]);
  expect(error).toBeUndefined();
  expect(said).toContainEqual(expect.stringContaining(`${NAME} can't be started`));
});
