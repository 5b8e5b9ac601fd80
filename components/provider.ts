import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type { MicrosandboxArgs } from "./args";
import { runAsPlugin } from "./host/scripts";
import { Microsandbox } from "./microsandbox";
import { outputs } from "./outputs";

const type = "microsandbox:index:Microsandbox";

/**
 * The plugin that creates services for programs in other languages. The schema was generated when this package was built:
 * Pulumi's own `componentProviderHost` would need the sources and a TypeScript compiler where it runs.
 */
class MicrosandboxProvider implements pulumi.provider.Provider {
  readonly schema = readFileSync(join(__dirname, "schema.json"), "utf8");
  readonly version: string = JSON.parse(this.schema).version;

  async construct(
    name: string,
    token: string,
    inputs: pulumi.Inputs,
    options: pulumi.ComponentResourceOptions,
  ): Promise<pulumi.provider.ConstructResult> {
    if (token !== type) throw new Error(`There is no ${token} in this package, only ${type}.`);
    const service = new Microsandbox(name, inputs as MicrosandboxArgs, options);
    return { urn: service.urn, state: Object.fromEntries(outputs.map((key) => [key, service[key]])) };
  }
}

runAsPlugin();
void pulumi.provider.main(new MicrosandboxProvider(), process.argv.slice(2));
