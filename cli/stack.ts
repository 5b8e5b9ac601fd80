import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { parseDocument } from "yaml";
import { baseNameOf, tooLongForEmulated } from "../components/host/names";
// Not config: it loads Pulumi, which takes a third of the start of a command.
import { readableHosts } from "../components/settings/checks";
import { resourceName, SERVICE } from "../components/settings/hosts";
import type { HostSettings } from "../components/settings/schema";
import { DEFAULT_DEBIAN } from "../components/settings/versions";
import { nameInLines } from "../setup/named-stack";
import { projectName, projectRoot, stackFile, stackName } from "../setup/project";
import type { Reporter } from "../setup/report";
import { ensureTools, type Tools } from "../setup/tools";
import { UserError } from "../setup/user-error";
import { type Backend, findBackend, findBackends } from "./backend";
import { clusterTools, isOnCluster } from "./cluster";
import { localKvm } from "./kvm";
import { type Pulumi, pulumiWith, reasonOf, saysNoStack } from "./pulumi";
import type { Settings } from "./settings";

/** {@link chooseStack}'s rule, for the help of every command. */
export const STACK_RULE =
  "stack to work on (default: the selected one, which is the one deployed last; without one, dev, or emulated where " +
  "this machine's KVM can't run guests)";

/** A stack, and Pulumi with the backend that has it. */
export interface OpenStack {
  /** Its name for Pulumi: `prod`, or `org/prod` of an organization. Labels and files have {@link stackName}. */
  stack: string;
  pulumi: Pulumi;
  backend: Backend;
  tools: Tools;
}

/** Gets the tools, then the stack that a command works on, where its state is. @throws UserError */
export async function openStack(asked: string | undefined, report: Reporter): Promise<OpenStack> {
  const common = await ensureTools(report);
  const places = asked ? [findBackend(asked)] : findBackends();
  const stack = await chooseStack(
    asked,
    places.map((place) => pulumiWith(common, place, report)),
    report,
  );
  const backend = findBackend(stack);
  const tools = isOnCluster(stack) ? await clusterTools(stack, report) : common;
  return { stack, backend, tools, pulumi: pulumiWith(tools, backend, report) };
}

/**
 * The stack that a command works on, by one rule for all of them: the one asked for, else the one that Pulumi has
 * selected (`up` selects what it deploys), else the one that fits this machine. From then on every line to type names it.
 *
 * @param places Pulumi with each backend that may have it; none where the tools are not there: nothing was selected then
 * @throws UserError where there is no such stack, with those that there are, or where a backend does not answer
 */
export async function chooseStack(
  asked: string | undefined,
  places: readonly Pick<Pulumi, "read">[],
  report: Reporter,
): Promise<string> {
  const named = asked ?? (await selectedIn(places));
  const stack = named === undefined ? await fitting(report) : withoutProject(named);
  requireName(stack);
  if (existsSync(stackFile(stack))) requireYaml(stackFile(stack));
  else if (!(await isKnown(stack, places))) throw noSuchStack(stack);
  nameInLines(stack);
  return stack;
}

/**
 * A stack's name as all commands use it. A backend that is no cloud calls its one organization `organization`.
 *
 * @throws UserError where it is a stack of another project
 */
export function withoutProject(stack: string): string {
  const [name = "", ...qualifiers] = stack.split("/").reverse();
  const [project, organization] = qualifiers.length > 1 ? qualifiers : [projectName(), qualifiers[0]];
  if (project !== projectName() || name === "" || qualifiers.length > 2)
    throw new UserError(
      `${stack} is not a stack of this project.\nExpected: NAME, ORGANIZATION/NAME or ORGANIZATION/${projectName()}/NAME`,
    );
  return organization === undefined || organization === "organization" ? name : `${organization}/${name}`;
}

async function selectedIn(places: readonly Pick<Pulumi, "read">[]): Promise<string | undefined> {
  for (const pulumi of places) {
    const ask = pulumi.read(["stack", "--show-name", "--fully-qualify-stack-names"]);
    const name = (await ask.catch(noneSelected)).trim();
    if (name) return name;
  }
  return undefined;
}

/** Nothing of a backend where none is selected. One that does not answer may have another stack than those that do. */
function noneSelected(error: unknown): string {
  if (/no stack selected/.test(String(error))) return "";
  throw new UserError(
    `Which stack is selected can't be read: ${reasonOf(error)}\n` +
      "Nothing was changed. Run the command again once Pulumi's backend answers, or name the stack: --stack NAME",
  );
}

async function fitting(report: Reporter): Promise<string> {
  const kvm = await localKvm();
  if (kvm.usable) return "dev";
  report.say(`This machine has no KVM that can run guests: ${kvm.reason}`);
  report.say(
    "Using the stack `emulated`: a QEMU machine with KVM inside (slow, but real). --stack chooses another.",
  );
  return "emulated";
}

/** Whether a backend has a stack of this name: its settings may come from elsewhere than a file. */
async function isKnown(stack: string, places: readonly Pick<Pulumi, "read">[]): Promise<boolean> {
  const answers = await Promise.allSettled(places.map((pulumi) => hasStack(stack, pulumi)));
  if (answers.some((answer) => answer.status === "fulfilled" && answer.value)) return true;
  const failed = answers.find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
  return false;
}

/** Whether the backend has a stack. Pulumi is asked: it alone knows which organization a short name means. */
export async function hasStack(stack: string, pulumi: Pick<Pulumi, "read">): Promise<boolean> {
  try {
    await pulumi.read(["stack", "--show-name", "--stack", stack]);
    return true;
  } catch (error) {
    if (saysNoStack(error)) return false;
    throw error;
  }
}

/**
 * Makes a stack in the backend where there is none, and says what that adds to its settings file.
 *
 * @param selects whether it is selected, too
 */
export async function makeStack(
  stack: string,
  pulumi: Pick<Pulumi, "read">,
  report: Pick<Reporter, "say">,
  { selects = false, file = stackFile(stack) } = {},
): Promise<void> {
  const hasSalt = () => existsSync(file) && /^encryptionsalt:/m.test(readFileSync(file, "utf8"));
  const before = hasSalt();
  if (selects) await pulumi.read(["stack", "select", "--create", stack]);
  else if (!(await hasStack(stack, pulumi))) await pulumi.read(["stack", "init", "--no-select", stack]);
  if (!before && hasSalt())
    report.say(
      `Pulumi has added the line encryptionsalt to ${basename(file)}: keep it, encrypted settings need it.`,
    );
}

/** What Pulumi takes for the name of a stack. @throws UserError */
function requireName(stack: string): void {
  if (/^[A-Za-z0-9_.-]{1,100}$/.test(stackName(stack))) return;
  throw new UserError(
    `${stackName(stack)} can't be the name of a stack.\n` +
      "Expected: at most 100 of the letters A to Z and a to z, digits, hyphens, underscores and dots",
  );
}

/** Pulumi's own error names neither the file nor always the right line. @throws UserError */
function requireYaml(file: string): void {
  const [error] = parseDocument(readFileSync(file, "utf8")).errors;
  if (error === undefined) return;
  const [what = ""] = error.message.split("\n");
  throw new UserError(
    `${basename(file)} is not valid YAML: ${what.replace(/:$/, "")}.\nCorrect it, then run the command again: ${file}`,
  );
}

/** The settings files that come with the project: one of another stack may have keys of that stack. */
const TEMPLATES = ["dev", "emulated", "prod"];

function noSuchStack(stack: string): UserError {
  const names = stackNames();
  const [name, template] = [stackName(stack), TEMPLATES.find((each) => names.includes(each))];
  const others = names.length > 0 ? `To use another one: --stack NAME (${names.join(", ")})\n` : "";
  const make = template
    ? `cp Pulumi.${template}.yaml Pulumi.${name}.yaml`
    : `echo 'config: {}' > Pulumi.${name}.yaml`;
  return new UserError(
    `There is no stack ${stack}: ${stackFile(stack)} does not exist.\n${others}To make it: ${make}`,
  );
}

/** Names of the stacks that have a settings file. */
export function stackNames(): string[] {
  return readdirSync(projectRoot)
    .map((file) => /^Pulumi\.([\w.-]+)\.yaml$/.exec(file)?.[1])
    .filter((name) => name !== undefined);
}

/** Settings of one host that set-up and recovery need. */
export type SetupHost = Pick<HostSettings, "host" | "architecture" | "debianVersion" | "registryPrefix"> &
  Partial<
    Pick<
      HostSettings,
      | ("sshKeyFile" | "sshKnownHostsFile" | "sshHostKey" | "volumes" | "version" | "tls" | "bindAddress")
      | ("versionSha256" | "serverImage" | "builder")
    >
  > & {
    /** Its name in the setting `hosts`; `default` where the stack has none. */
    name: string;
    /** First part of the names of what is on it. */
    baseName: string;
    devMode: boolean;
    /** Whether changes need a confirmation. */
    production: boolean;
  };

/**
 * The hosts of a stack, as far as they have to be known before Pulumi runs, by its settings as Pulumi tells them. What is
 * wrong has its default here: Pulumi's own check explains the error.
 */
export function hostsOf(stack: string, { values }: Pick<Settings, "values">): SetupHost[] {
  const defaults = {
    host: "local",
    architecture: "auto" as const,
    debianVersion: DEFAULT_DEBIAN,
    registryPrefix: "",
    devMode: true,
    production: false,
  };
  return Object.entries(readableHosts(values)).map(([name, settings]) => ({
    ...defaults,
    ...settings,
    name,
    baseName: baseNameOf(resourceName(SERVICE, name), { project: projectName(), stack: stackName(stack) }),
  }));
}

/** Whether a stack changes only when somebody has seen how: one of its hosts, or its cluster, is in production. */
export const isInProduction = ({ values }: Pick<Settings, "values">, hosts: readonly SetupHost[]): boolean =>
  hosts.length > 0 ? hosts.some(({ production }) => production) : values.production === "true";

/** Why these hosts can't be made under the stack's name; undefined where they can. */
export const nameError = (stack: string, hosts: readonly Pick<SetupHost, "host" | "baseName">[]) =>
  hosts
    .filter(({ host }) => host === "emulated")
    .map(({ baseName }) => tooLongForEmulated(baseName, stackName(stack)))
    .find((error) => error !== undefined);

/** Processor of an emulated host: the one it asks for, else this machine's own. */
export function emulatedArchitecture({ architecture }: Pick<SetupHost, "architecture">): "amd64" | "arm64" {
  if (architecture !== "auto") return architecture;
  return process.arch === "arm64" ? "arm64" : "amd64";
}
