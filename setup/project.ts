import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

/** Folder of this checkout. */
export const projectRoot = join(__dirname, "..");

/** The project's name, which Pulumi.yaml gives. */
export const projectName = (): string => parse(readFileSync(join(projectRoot, "Pulumi.yaml"), "utf8")).name;

/** A stack's own name, without the organization and project that Pulumi also accepts. @example "org/prod" → "prod" */
export const stackName = (stack: string): string => stack.split("/").pop() ?? stack;

/** The settings file of a stack. @param stack its name, qualified or not */
export const stackFile = (stack: string): string => join(projectRoot, `Pulumi.${stackName(stack)}.yaml`);
