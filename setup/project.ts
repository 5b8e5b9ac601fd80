import { join } from "node:path";

/** Folder of this checkout. */
export const projectRoot = join(__dirname, "..");

/** The settings file of a stack, whose name may be preceded by its organization and project. */
export function stackFile(stack: string): string {
  return join(projectRoot, `Pulumi.${stack.split("/").pop()}.yaml`);
}
