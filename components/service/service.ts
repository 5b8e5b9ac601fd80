import * as pulumi from "@pulumi/pulumi";
import type { MicrosandboxArgs } from "../args";
import { deploymentId, earlierNames, type Recorded, readState, recordedOf } from "../host/deployment";
import { baseNameOf } from "../host/names";
import { type CheckedArgs, checkArgs } from "./checked-args";
import type { MicrosandboxOptions } from "./options";

/** What all parts of a service know. */
export interface Service extends CheckedArgs {
  /** First part of the names of its resources. */
  name: string;
  /** The component that all of them belong to. */
  component: pulumi.ComponentResource;
  options: MicrosandboxOptions;
  /** Prefix of names on the host. */
  baseName: string;
  /** Id of its deployment, for labels. */
  deployment: pulumi.Output<string>;
  /** What the state has of it. */
  recorded: pulumi.Output<Recorded>;
}

/** @throws VisibleError that lists what is wrong with the args */
export function serviceOf(
  name: string,
  args: MicrosandboxArgs,
  options: MicrosandboxOptions,
  component: pulumi.ComponentResource,
): Service {
  const deployment = deploymentId(name, component);
  const checked = checkArgs(args);
  const owner = { project: pulumi.getProject(), stack: pulumi.getStack() };
  const { baseName = baseNameOf(name, owner) } = options;
  const recorded = pulumi
    .all([options.state ?? readState(), earlierNames(options.aliases)])
    .apply(([state, earlier]) => recordedOf(name, state, earlier));
  return { ...checked, name, component, options, baseName, deployment, recorded };
}
