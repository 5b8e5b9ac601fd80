import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { ServiceError } from "../../errors";
import type { Owner } from "../../sandboxes/backend";
import { failureOf, isBusy, type Subject } from "./error-sentences";
import { type Lane, Lanes, type Turn } from "./lanes";
import { type ProcessResult, runProcess } from "./process";

/** What msb is allowed to see of the server's environment: nothing that could hold a secret. */
const PASSED_ON = ["PATH", "HOME", "TZ", "LANG", "SSL_CERT_FILE"];

export type MsbResult = ProcessResult;

/** msb ended with an error; `stderr` is its own text. Where nobody knows better, it is what {@link failureOf} says. */
export class MsbError extends ServiceError {
  constructor(
    readonly command: string,
    readonly code: number,
    readonly stderr: string,
  ) {
    const { kind, message, options } = failureOf(stderr, code);
    super(kind, `msb ${command} failed: ${message}`, options);
  }

  /** The same in terms of what the command was about. */
  about = (subject: Subject): ServiceError => failureOf(this.stderr, this.code, subject);
}

/** An error of msb's in terms of what the command was about; any other as it is. */
export const inTermsOf = (error: unknown, subject: Subject): unknown =>
  error instanceof MsbError ? error.about(subject) : error;

const imageList = z.array(
  z.object({ reference: z.string(), created_at: z.string(), digest: z.string().optional() }),
);
/** An image in msb's cache, with the time of its download. */
export type ListedImage = z.infer<typeof imageList>[number];

/** Whether a version of msb is older than 0.7, whose command line and JSON differ in places. */
export const isBefore07 = (version: string): boolean => /^0\.[0-6]\./.test(version);

export type MsbOptions = { path: string; home: string };
export type RunOptions = {
  /** Whose call it is, null for one of the server's own: one owner has at most half of a lane. */
  owner: Owner;
  /** Milliseconds that it may wait for its turn, and then as many again that it may run. The default is the command's. */
  timeoutMs?: number;
  /** Takes the call out of its lane, or ends its process; it then fails with the signal's reason. */
  signal?: AbortSignal;
  /** Called when its turn has come; what it throws is what the call fails with. */
  before?: () => void;
  /** Variables of this one call. */
  env?: Record<string, string>;
};

/** Commands after which a microVM goes on running. */
const LEAVES_MACHINE = new Set(["create", "start", "restore", "run", "fork"]);

const MINUTE_MS = 60_000;

/** The lane of each command and its time. What removes or makes files gets time in proportion to their size. */
const COMMANDS: Record<string, [lane: Lane, timeoutMs: number]> = {
  "--version": ["reads", MINUTE_MS],
  ls: ["reads", MINUTE_MS],
  inspect: ["reads", MINUTE_MS],
  "volume ls": ["reads", MINUTE_MS],
  "image ls": ["reads", MINUTE_MS],
  pause: ["pauses", MINUTE_MS],
  resume: ["pauses", MINUTE_MS],
  stop: ["stops", MINUTE_MS],
  rm: ["removals", 5 * MINUTE_MS],
  create: ["boots", 15 * MINUTE_MS],
  start: ["boots", 15 * MINUTE_MS],
  restore: ["boots", 15 * MINUTE_MS],
  fork: ["boots", 15 * MINUTE_MS],
  pull: ["pulls", 15 * MINUTE_MS],
  "volume create": ["housekeeping", 60 * MINUTE_MS],
  "volume rm": ["housekeeping", 60 * MINUTE_MS],
  "image rm": ["housekeeping", 15 * MINUTE_MS],
  "snapshot create": ["captures", 30 * MINUTE_MS],
  "snapshot rm": ["housekeeping", 60 * MINUTE_MS],
  modify: ["housekeeping", MINUTE_MS],
  load: ["housekeeping", 60 * MINUTE_MS],
};

/** Commands that may have done half of their work when they meet a busy database: they are not repeated. */
const NOT_REPEATED = new Set(["create", "restore", "fork", "volume create", "snapshot create"]);
const BUSY_TRIES = 5;
const BUSY_PAUSE_MS = 50;

/** The msb command line: each call is one process, never a shell. */
export class Msb {
  readonly lanes = new Lanes();
  private known: Promise<string> | undefined;

  constructor(private readonly options: MsbOptions) {}

  /**
   * Runs msb in the lane of the command and resolves with its exit code and output.
   * @throws ServiceError timeout, unavailable, invalidSpec as {@link runProcess}; the signal's reason
   */
  run(args: string[], options: RunOptions): Promise<MsbResult> {
    const [lane, timeoutMs] = kindOf(args);
    const { owner, signal } = options;
    const ms = options.timeoutMs ?? timeoutMs;
    return this.lanes.run(lane, { owner, signal, deadlineMs: Date.now() + ms }, () => {
      options.before?.();
      // What waited for its turn has its whole time all the same.
      return this.runNow(args, { signal, deadlineMs: Date.now() + ms }, options.env);
    });
  }

  /** Runs msb at once, for a caller that has its turn. */
  async runNow(args: string[], turn: Omit<Turn, "owner">, env?: Record<string, string>): Promise<MsbResult> {
    const { signal, deadlineMs } = turn;
    for (let tries = 1; ; tries++) {
      const result = await runProcess(this.options.path, args, {
        env: { ...this.environment(), ...env },
        timeoutMs: deadlineMs - Date.now(),
        signal,
        leavesChild: LEAVES_MACHINE.has(args[0] ?? ""),
      });
      if (result.code === 0 || !isBusy(result.stderr)) return result;
      const pauseMs = BUSY_PAUSE_MS * 2 ** tries * (0.5 + Math.random());
      const over = tries === BUSY_TRIES || Date.now() + pauseMs >= deadlineMs;
      if (over || NOT_REPEATED.has(nameOf(args))) return result;
      await sleep(pauseMs, undefined, { signal });
    }
  }

  /** Like {@link run}, but an exit code other than 0 is an {@link MsbError}. */
  async ok(args: string[], options: RunOptions): Promise<string> {
    return outputOf(args, await this.run(args, options));
  }

  /** For example "0.7.11"; asked once. */
  version(): Promise<string> {
    this.known ??= this.ok(["--version"], { owner: null }).then((text) => text.trim().replace(/^msb\s+/, ""));
    this.known.catch(() => {
      this.known = undefined;
    });
    return this.known;
  }

  /** Its JSON output. @throws ServiceError runtimeFailed where that is not what it should be */
  async json<T>(args: string[], schema: z.ZodType<T>, options: RunOptions): Promise<T> {
    const text = await this.ok([...args, "--format", "json"], options);
    try {
      return schema.parse(JSON.parse(text));
    } catch (cause) {
      throw new ServiceError("runtimeFailed", `msb ${nameOf(args)} said what can't be read`, { cause });
    }
  }

  /** The images in msb's cache. */
  async images(): Promise<ListedImage[]> {
    return this.json(["image", "ls"], imageList, { owner: null });
  }

  private environment(): NodeJS.ProcessEnv {
    const passed = PASSED_ON.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : []));
    return { HOME: "/tmp", ...Object.fromEntries(passed), MSB_HOME: this.options.home, NO_COLOR: "1" };
  }
}

/** The output of a command that did what it was asked for. @throws MsbError */
export function outputOf(args: string[], { code, stdout, stderr }: MsbResult): string {
  if (code !== 0) throw new MsbError(nameOf(args), code, stderr);
  return stdout;
}

/** Commands that consist of two words. */
const GROUPS = new Set(["volume", "image", "snapshot"]);

/** @example nameOf(["volume", "rm", "--", "data"]) // "volume rm" */
function nameOf([command = "", second = ""]: string[]): string {
  return GROUPS.has(command) ? `${command} ${second}` : command;
}

const kindOf = (args: string[]) => COMMANDS[nameOf(args)] ?? (["housekeeping", MINUTE_MS] as const);
