import { invalidSpec, ServiceError } from "../../errors";
import type { MsbError } from "./command-line";

/** What is told of an image that is not cached, and of one that its reader may not know of: the same. */
export const notHere = (reference: string) =>
  invalidSpec(`the image ${JSON.stringify(reference)} is not cached on this server, and is not to be pulled`);

/** One sentence for every address that the server does not connect to, so that none can be told from another. */
export const notAllowed = (reference: string) =>
  invalidSpec(`${cannot(reference)}: its registry is not there, or is none that this server pulls from`);

const cannot = (reference: string) => `the image ${JSON.stringify(reference)} can't be pulled`;

/** msb names the registry's addresses, and passes on what answered there: the client gets our own words. */
const SAYS: [pattern: RegExp, reason: string][] = [
  [/not authorized|unauthorized|denied|authentication failure/i, "the registry refused"],
  [/manifest (not found|unknown)|name unknown|OCI API error|code: 404/i, "the registry does not know it"],
  [/invalid image reference|invalid reference format/i, "that is no image reference"],
  [/no matching|platform|architecture/i, "it is not there for this server's architecture"],
];

/** The failure of a pull. @throws never */
export function pullFailure(reference: string, error: MsbError): ServiceError {
  if (error.kind !== "runtimeFailed" && error.kind !== "invalidSpec") return error;
  const known = SAYS.find(([pattern]) => pattern.test(error.stderr));
  if (known) return invalidSpec(`${cannot(reference)}: ${known[1]}`);
  if (/error sending request|server error|timed out|connect/i.test(error.stderr))
    return new ServiceError(
      "runtimeFailed",
      `${cannot(reference)}: its registry does not answer as it should`,
    );
  return new ServiceError("runtimeFailed", `${cannot(reference)}: the server failed to take it in`);
}
