import { shellQuote } from "../settings/shell";

/** Length of a host name that every kernel takes. */
const HOST_NAME = 63;

/**
 * First part of the names of all that a service has on its host: project, name and stack, so that neither another
 * project nor another stack has them. A name that begins with the project's is not prefixed again: the services of this
 * project's own program (`microsandbox`, `microsandbox-b`) keep their names.
 *
 * @example baseNameOf("sandboxes", { project: "shop", stack: "dev" }) === "shop-sandboxes-dev"
 */
export function baseNameOf(name: string, { project, stack }: { project: string; stack: string }): string {
  const owned = name === project || name.startsWith(`${project}-`) ? name : `${project}-${name}`;
  // What Docker takes for the name of a container.
  return `${owned}-${stack}`.replace(/[^\w.-]/g, "-").replace(/^[^A-Za-z0-9]+/, "");
}

const IMAGE_NAME = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;

/** A base name as the name of an image, which has no capitals and no mixed separators. */
export function imageNameOf(baseName: string): string {
  const lower = baseName.toLowerCase();
  return IMAGE_NAME.test(lower) ? lower : lower.replace(/[._-]+/g, "-").replace(/-$/, "");
}

/**
 * Why an emulated host can't have the name that its stack gives it; undefined where it can.
 *
 * @param stack the stack's name without its organization: what can be changed
 */
export function tooLongForEmulated(baseName: string, stack: string): string | undefined {
  const excess = baseName.length - HOST_NAME;
  if (excess <= 0) return undefined;
  const [file, most] = [shellQuote(`Pulumi.${stack}.yaml`), stack.length - excess];
  return (
    `The name of the emulated host ${baseName} is too long: it has ${baseName.length} characters. It was not made.\n` +
    `  expected: at most ${HOST_NAME}${most > 0 ? `, so at most ${most} in the stack's name` : ""}\n` +
    `  another stack name: cp ${file} Pulumi.NAME.yaml && npm run up -- --stack NAME`
  );
}

/** A base name as a machine's own name. */
export const hostNameOf = (baseName: string): string =>
  baseName.slice(0, HOST_NAME).replace(/[^A-Za-z0-9]+$/, "");
