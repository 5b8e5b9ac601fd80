import { expect } from "vitest";
import type { MicrosandboxArgs } from "../../../components/args";
import { Microsandbox } from "../../../components/microsandbox";
import { type FakeHost, healthyHost, type Registered, registered } from "../../harness/pulumi-mocks";

/** The resources of a service with these settings. */
export const deploy = (args: MicrosandboxArgs, host = hostFor(args)) =>
  registered(() => new Microsandbox("sandboxes", args), host);

/** A healthy host of the processor that is asked for. */
function hostFor({ architecture }: MicrosandboxArgs): FakeHost {
  const preflight = healthyHost.preflight as { engine: Record<string, unknown> };
  const engine = { ...preflight.engine, ...(architecture === "arm64" ? { arch: "arm64" } : {}) };
  return { ...healthyHost, preflight: { ...preflight, engine } };
}

/** The inputs of the only resource of a type (the part after the last colon). */
export function only(resources: Registered[], type: string, nameEnd = ""): Registered["inputs"] {
  const found = resources.filter((one) => one.type.endsWith(`:${type}`) && one.name.endsWith(nameEnd));
  expect(found.map(({ name }) => name)).toHaveLength(1);
  return found[0]?.inputs ?? {};
}

export const container = (resources: Registered[]) => only(resources, "Container");
export const build = (resources: Registered[]) => only(resources, "RemoteImage").build;

/** A setting, where it must arrive, and as what. */
export type Case = [string, MicrosandboxArgs, read: (resources: Registered[]) => unknown, expected: unknown];
