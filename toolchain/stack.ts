import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { NAMESPACE, type StackSettings } from "../components/config";
import { checkSettings } from "../components/config-checks";
import { projectRoot } from "./backend";
import { localKvm } from "./kvm";
import type { Pulumi } from "./pulumi";
import type { Reporter } from "./report";
import { UserError } from "./user-error";

/** The stack to work on: the one asked for, or the one that fits this machine. */
export async function chooseStack(asked: string | undefined, report: Reporter): Promise<string> {
  if (asked) {
    if (existsSync(stackFile(asked))) return asked;
    throw new UserError(
      `There is no stack ${asked}: ${stackFile(asked)} does not exist. Stacks here: ${stackNames().join(", ")}.\n` +
        `To make one: cp Pulumi.dev.yaml Pulumi.${asked}.yaml`,
    );
  }
  const kvm = await localKvm();
  if (kvm.usable) return "dev";
  report.say(`This machine has no KVM that can run guests: ${kvm.reason}`);
  report.say(
    "Using the stack `emulated`: a QEMU machine with KVM inside (slow, but real). --stack chooses another.",
  );
  return "emulated";
}

/** The stack that is meant where one may be deployed already: asked for, selected by pulumi, or fit for this machine. */
export async function currentStack(
  asked: string | undefined,
  pulumi: Pulumi,
  report: Reporter,
): Promise<string> {
  if (asked) return asked;
  const selected = await pulumi.read(["stack", "--show-name"]).catch(() => undefined);
  return selected ?? chooseStack(undefined, report);
}

/** Names of the stacks that have a settings file. */
export function stackNames(): string[] {
  return readdirSync(projectRoot)
    .map((file) => /^Pulumi\.([\w-]+)\.yaml$/.exec(file)?.[1])
    .filter((name) => name !== undefined);
}

/** The settings that set-up and recovery look at. */
export type SetupSettings = Pick<
  StackSettings,
  "host" | "architecture" | "debianVersion" | "registryPrefix"
> &
  Partial<Pick<StackSettings, "sshKeyFile" | "sshKnownHostsFile">> & { devMode: boolean; hasKey: boolean };

/** What set-up has to know before Pulumi runs; wrong values are left for Pulumi's own check, which explains them. */
export function settingsForSetup(stack: string): SetupSettings {
  const config: Record<string, unknown> = parse(readFileSync(stackFile(stack), "utf8"))?.config ?? {};
  const raw = Object.entries(config)
    .filter(([key]) => key.startsWith(`${NAMESPACE}:`))
    .map(([key, value]) => [key.slice(NAMESPACE.length + 1), value] as const);
  const hasKey = raw.some(([key]) => key === "apiKey");
  const { settings } = checkSettings(Object.fromEntries(raw.filter(([, value]) => !isEncrypted(value))));
  const wrong = {
    host: "local",
    architecture: "auto" as const,
    debianVersion: "13.2-slim",
    registryPrefix: "",
    devMode: true,
  };
  return { ...(settings ?? wrong), hasKey };
}

/** Processor of a stack's emulated host: the one it asks for, else this machine's own. */
export function emulatedArchitecture({ architecture }: SetupSettings): "amd64" | "arm64" {
  if (architecture !== "auto") return architecture;
  return process.arch === "arm64" ? "arm64" : "amd64";
}

function isEncrypted(value: unknown): boolean {
  return typeof value === "object" && value !== null && "secure" in value;
}

function stackFile(stack: string): string {
  return join(projectRoot, `Pulumi.${stack}.yaml`);
}
