// Not from "@pulumi/pulumi": the commands that run before Pulumi would wait for all of it to load.
import { RunError } from "@pulumi/pulumi/errors";

/**
 * A mistake that the user can mend: a wrong setting, a taken port, an engine that does not answer.
 *
 * Pulumi's Node.js runtime prints the message of a `RunError` alone, without "unhandled exception" and
 * without a stack trace. The message therefore has to say what failed, what was expected and what to
 * type next.
 */
export class VisibleError extends RunError {
  override readonly name = "VisibleError";
}
