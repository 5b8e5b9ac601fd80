import { forProgram } from "./message-commands";

/**
 * An error that the user can fix: a wrong setting, a taken port, an engine that does not answer.
 *
 * Pulumi's Node.js runtime prints the message of a `RunError` alone, without "unhandled exception" and
 * without a stack trace. The message therefore has to say what failed, what was expected and what to
 * type next. Thrown while an output is made, it fails every resource that waits for that output, and
 * those alone; being one error, it is printed once.
 */
export class VisibleError extends Error {
  override readonly name = "VisibleError";
  /** The sign of a `RunError`. Not by inheritance: the commands that run before Pulumi would wait for it to load. */
  readonly __pulumiRunError = true;

  /** @param text its lines to type become those of the program: {@link forProgram} */
  constructor(text: string) {
    const message = forProgram(text);
    super(message);
    setMessage(this, message);
  }
}

/**
 * Runs a check of one host among several: an error of it is that host's.
 *
 * @param host name of the host; undefined where the stack has one only
 */
export function namingHost<T>(host: string | undefined, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (host === undefined || !(error instanceof VisibleError)) throw error;
    throw new VisibleError(hostMessage(host, error.message));
  }
}

/** What is wrong with one host among several: it is named, and lines to type set that host's settings. */
export function hostMessage(host: string, message: string): string {
  const lines =
    /(pulumi(?: --)? config(?: --stack \S+)? (?:set|rm)(?: --secret)?) (?:--path (?!'?(?:microsandbox:)?hosts\.))?('?microsandbox:)?(?!-|'|hosts\.)/g;
  return `Host ${host}: ${message.replaceAll(lines, `$1 --path $2hosts.${host}.`)}`;
}

/** Sets what Pulumi prints of an error: for good, while Pulumi would put the name of each property that waited before it. */
export function setMessage(error: Error, message: string): void {
  Object.defineProperty(error, "message", { get: () => message, set: () => {} });
  // Once the program has ended, Pulumi prints the stack and not the message.
  error.stack = message;
}
