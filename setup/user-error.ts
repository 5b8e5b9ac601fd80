/**
 * An error or a missing piece that the user can fix. Its message says what failed, what was expected and
 * what to type next; whoever catches it at the edge prints the message without a stack trace and exits 1.
 *
 * @example
 * throw new UserError("No Docker engine answers.\nInstall one: apt-get install docker.io");
 */
export class UserError extends Error {
  override readonly name = "UserError";
  /** What the process ends with. */
  readonly exitCode = 1;
}
