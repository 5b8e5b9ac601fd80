/** An error travels in an HTTP/2 header of at most 64 KiB, in which a byte can take three characters. */
const MAX_TAIL_BYTES = 12 * 1024;
const MAX_COMMAND_CHARACTERS = 1024;

/** A command that did not run or did not succeed; its message is all that the user needs to see. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** Keeps the end of what a command printed, both streams in the order of arrival, for its error. */
export class Tail {
  private chunks: Buffer[] = [];
  private size = 0;

  constructor(
    private readonly command: string,
    private readonly redact: (text: string) => string,
  ) {}

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.size += chunk.length;
    while (this.size - (this.chunks[0]?.length ?? 0) > MAX_TAIL_BYTES) {
      this.size -= this.chunks.shift()?.length ?? 0;
    }
  }

  /** The vendor's format: what happened, the command, and its output. */
  error(what: string): CommandError {
    const command = this.redact(this.command);
    const shown =
      command.length > MAX_COMMAND_CHARACTERS ? `${command.slice(0, MAX_COMMAND_CHARACTERS)}…` : command;
    const output = lastBytes(this.redact(Buffer.concat(this.chunks).toString("utf8")), MAX_TAIL_BYTES);
    return new CommandError(`${what}: running ${JSON.stringify(shown)}:\n${output}`);
  }
}

/** The end of a text, at most so many bytes of UTF-8. */
function lastBytes(text: string, bytes: number): string {
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return text;
  let start = encoded.length - bytes;
  while (((encoded[start] ?? 0) & 0xc0) === 0x80) start++; // not in the middle of a character
  return `…${encoded.toString("utf8", start)}`;
}

const SIGNALS: Partial<Record<NodeJS.Signals, string>> = {
  SIGABRT: "aborted",
  SIGHUP: "hangup",
  SIGINT: "interrupt",
  SIGKILL: "killed",
  SIGPIPE: "broken pipe",
  SIGSEGV: "segmentation fault",
  SIGTERM: "terminated",
};

/** How a process ended, in the vendor's words; nothing for exit code 0. */
export function statusText(code: number | null, signal: NodeJS.Signals | null): string | undefined {
  if (signal) return `signal: ${SIGNALS[signal] ?? signal}`;
  return code === 0 ? undefined : `exit status ${code}`;
}

/** Why a process could not be started. */
export function spawnFailure(error: unknown, program: string): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT" && !program.includes("/")) {
    return `exec: ${JSON.stringify(program)}: executable file not found in $PATH`;
  }
  if (code === "ENOENT") return `fork/exec ${program}: no such file or directory`;
  if (code === "EACCES") return `fork/exec ${program}: permission denied`;
  if (code === "E2BIG") {
    return (
      `fork/exec ${program}: argument list too long ` +
      "(the command, its environment and the previous output in PULUMI_COMMAND_STDOUT must fit; " +
      "addPreviousOutputInEnv: false leaves the latter out)"
    );
  }
  return error instanceof Error ? error.message : String(error);
}
