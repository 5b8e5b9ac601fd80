import { setTimeout } from "node:timers/promises";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { VisibleError } from "../settings/visible-error";
import type { Connection } from "./connection";

/** A resource as the last run of the stack has left it in the state, by its URN. */
export type StateResources = Record<string, { type: string; outputs: Record<string, unknown> }>;

/** How often the state is read where it is just being written, and milliseconds more to wait each time. */
const TRIES = 10;
const PAUSE_MS = 50;

/** Last part of the name of the resource that holds the id of a deployment. */
const SUFFIX = "-deployment";

/**
 * The id of a deployment: random, made by the first `up`, and kept in the state. What is made on a host has it as a
 * label, which tells it from what another checkout, with a state of its own, has made for a stack of the same name.
 */
export function deploymentId(name: string, parent: pulumi.Resource): pulumi.Output<string> {
  const create = "od -An -v -tx1 -N8 /dev/urandom | tr -d ' \\n'";
  const made = new command.local.Command(
    `${name}${SUFFIX}`,
    { create, logging: "none" },
    { parent, ignoreChanges: ["create", "logging"] },
  );
  return made.stdout;
}

/**
 * What the state of this stack holds before this run: also in a preview, in which a new resource's outputs are unknown.
 *
 * @throws VisibleError where it can't be read
 */
export async function readState(ask = askEngine): Promise<StateResources> {
  for (let tries = 1; ; tries++)
    try {
      return (await ask()).outputs ?? {};
    } catch (error) {
      // The engine rewrites the file after each step; a read can hit an incomplete one.
      if (tries === TRIES || !/load checkpoint/.test(String(error))) throw unreadable(error);
      await setTimeout(PAUSE_MS * tries);
    }
}

const askEngine = (): Promise<{ outputs?: StateResources }> =>
  pulumi.runtime.invoke("pulumi:pulumi:readStackResourceOutputs", { stackName: stackReference() });

/** What every backend but Pulumi Cloud calls its only organization. */
const NO_ORGANIZATION = "organization";

/**
 * The unambiguous name of this stack: Pulumi Cloud would look for a short name in the user's default
 * organization. Other backends know one organization, and those of the old layout no name but the short one.
 */
function stackReference(): string {
  let organization = NO_ORGANIZATION;
  try {
    organization = pulumi.getOrganization();
  } catch {
    // It throws where the backend has none.
  }
  const stack = pulumi.getStack();
  return organization === NO_ORGANIZATION ? stack : `${organization}/${pulumi.getProject()}/${stack}`;
}

function unreadable(error: unknown): VisibleError {
  const why = error instanceof Error ? error.message : String(error);
  return new VisibleError(
    "The state of this stack, which tells what on the host belongs to it, can't be read. No host was changed.\n" +
      `  Pulumi said: ${why}\n  to see it yourself: pulumi stack export --stack ${stackReference()}`,
  );
}

/** What of a service is in the state. */
export interface Recorded {
  /** The id of its deployment; undefined before its first `up`, and in what earlier versions have left. */
  deployment: string | undefined;
  /** Whether the state has an object of this name on the service's host. */
  has: (kind: "container" | "network" | "volume", name: string) => boolean;
  /** The id of its container of this name, in the state. */
  containerId: (name: string) => string | undefined;
  /** Names of its objects on its host. */
  objects: string[];
  /** How its host was reached, and whether that is an emulated one. */
  connection: Connection | undefined;
  isEmulated: boolean;
  /** A command resource of the service, by the name that it has now. */
  command: (name: string) => RecordedCommand | undefined;
}

/** What a command has printed, and the triggers that it had. */
export interface RecordedCommand {
  stdout: string;
  triggers: unknown[];
}

const tokens = {
  container: "docker:index/container:Container",
  network: "docker:index/network:Network",
  volume: "docker:index/volume:Volume",
};

const nameIn = (urn: string) => urn.split("::").pop() ?? "";

/** Names that a component had before, by its aliases: those of its children begin with it. */
export function earlierNames(aliases: pulumi.ComponentResourceOptions["aliases"]): pulumi.Output<string[]> {
  return pulumi
    .output(aliases)
    .apply((all = []) =>
      all.flatMap((alias) => (typeof alias === "string" ? nameIn(alias) : (alias.name ?? []))),
    );
}

/**
 * @param service name of the component `Microsandbox`
 * @param earlier names that it had before
 */
export function recordedOf(service: string, state: StateResources, earlier: string[] = []): Recorded {
  const own = (...ends: string[]) => {
    const names = [service, ...earlier].flatMap((name) => ends.map((end) => `${name}${end}`));
    return Object.entries(state).flatMap(([urn, resource]) =>
      names.includes(nameIn(urn)) ? [resource] : [],
    );
  };
  const objects = own("-server-container", "-server-network", "-storage-state", "-storage-workspace");
  return {
    deployment: own(SUFFIX).map(({ outputs }) => String(outputs.stdout))[0],
    has: (kind, name) => objects.some(({ type, outputs }) => type === tokens[kind] && outputs.name === name),
    containerId: (name) => {
      const known = objects.find(({ type, outputs }) => type === tokens.container && outputs.name === name);
      return known?.outputs.id === undefined ? undefined : String(known.outputs.id);
    },
    objects: objects.map(({ outputs }) => String(outputs.name)),
    // Recorded by each run whose host has passed the preflight.
    connection: own("-host").map(({ outputs }) => outputs.connection as Connection | undefined)[0],
    isEmulated: own("-host-emulated-machine").length > 0,
    command: (name) =>
      own(name.slice(service.length)).map(({ outputs: { stdout, triggers } }) => ({
        stdout: String(stdout),
        triggers: Array.isArray(triggers) ? triggers : [],
      }))[0],
  };
}
