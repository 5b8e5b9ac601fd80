import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
// Not config: it loads Pulumi, which takes a third of the start of a command.
import { readableHosts } from "../components/settings/checks";
import { resourceName } from "../components/settings/hosts";
import { type HostSettings, NAMESPACE } from "../components/settings/schema";
import { projectRoot } from "../setup/backend";
import type { Reporter } from "../setup/report";
import { UserError } from "../setup/user-error";
import { localKvm } from "./kvm";
import type { Pulumi } from "./pulumi";

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

/** What set-up and recovery look at, of one host. */
export type SetupHost = Pick<HostSettings, "host" | "architecture" | "debianVersion" | "registryPrefix"> &
  Partial<
    Pick<HostSettings, "sshKeyFile" | "sshKnownHostsFile" | "volumes" | "version" | "tls" | "bindAddress">
  > & {
    /** Its name in the setting `hosts`; `default` where the stack has none. */
    name: string;
    /** First part of the names of what is on it. */
    baseName: string;
    devMode: boolean;
    privileged: boolean;
    /** Whether it has a key, of its own or the stack's. */
    hasKey: boolean;
    /** Whether one of them is `apiKey`, which can be shown again. */
    hasApiKey: boolean;
  };

/**
 * The hosts of a stack, as far as they have to be known before Pulumi runs. What is wrong has its default here:
 * Pulumi's own check explains the mistake.
 */
export function hostsForSetup(stack: string): SetupHost[] {
  const config: Record<string, unknown> = parse(readFileSync(stackFile(stack), "utf8"))?.config ?? {};
  const raw = Object.fromEntries(
    Object.entries(config)
      .filter(([key]) => key.startsWith(`${NAMESPACE}:`))
      .map(([key, value]) => [key.slice(NAMESPACE.length + 1), value]),
  );
  const defaults = {
    host: "local",
    architecture: "auto" as const,
    debianVersion: "13.2-slim",
    registryPrefix: "",
    devMode: true,
    privileged: false,
  };
  return Object.entries(readableHosts(raw)).map(([name, settings]) => ({
    ...defaults,
    ...settings,
    name,
    baseName: `${resourceName("microsandbox", name)}-${stack}`,
    hasKey: "apiKey" in raw || "keys" in raw || hasOwnKey(raw.hosts, name),
    hasApiKey: "apiKey" in raw || hasOwnKey(raw.hosts, name),
  }));
}

/** Processor of an emulated host: the one it asks for, else this machine's own. */
export function emulatedArchitecture({ architecture }: Pick<SetupHost, "architecture">): "amd64" | "arm64" {
  if (architecture !== "auto") return architecture;
  return process.arch === "arm64" ? "arm64" : "amd64";
}

function hasOwnKey(hosts: unknown, name: string): boolean {
  const own = isObject(hosts) ? hosts[name] : undefined;
  return isObject(own) && "apiKey" in own;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The settings file of a stack. */
export function stackFile(stack: string): string {
  return join(projectRoot, `Pulumi.${stack}.yaml`);
}
