import { spawn } from "node:child_process";
import * as z from "zod";

/** What msb is allowed to see of the server's environment: nothing that could hold a secret. */
const PASSED_ON = ["PATH", "HOME", "TZ", "LANG", "SSL_CERT_FILE"];

export type MsbResult = { code: number; stdout: string; stderr: string };

/** msb ended with an error; `stderr` is its own text. */
export class MsbError extends Error {
  override name = "MsbError";
  constructor(
    readonly command: string,
    readonly code: number,
    readonly stderr: string,
  ) {
    super(`msb ${command} failed (${code}): ${lastLine(stderr)}`);
  }
}

/** One line of msb's error text, without its "error:" prefix and colours. */
export function lastLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour is.
  const plain = text.replace(/\u001b\[[0-9;]*m/g, "").trim();
  const lines = plain.split("\n").map((line) => line.trim());
  const line = lines.find((each) => each.startsWith("error:")) ?? lines.at(-1) ?? "";
  return line.replace(/^error:\s*/, "") || "no message";
}

const imageList = z.array(z.object({ reference: z.string(), created_at: z.string() }));

/** Whether a version of msb is older than 0.7, whose command line and JSON differ in places. */
export const isBefore07 = (version: string): boolean => /^0\.[0-6]\./.test(version);

export type MsbOptions = { path: string; home: string };
export type RunOptions = {
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Variables of this one call. */
  env?: Record<string, string>;
};

/** msb processes at once; more would only make each other slow. */
const MAX_PROCESSES = 16;

/** Commands after which a microVM goes on running. */
const LEAVES_MACHINE = new Set(["create", "start", "run"]);

const MAX_OUTPUT = 32 * 1024 * 1024;

/** The msb command line: each call is one process, never a shell. */
export class Msb {
  private known: Promise<string> | undefined;
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly options: MsbOptions) {}

  /** Runs msb and resolves with its exit code and output; 124 stands for "took too long". */
  async run(args: string[], options: RunOptions = {}): Promise<MsbResult> {
    if (this.running >= MAX_PROCESSES) await new Promise<void>((go) => this.waiting.push(go));
    this.running++;
    try {
      return await this.spawn(args, options);
    } finally {
      this.running--;
      this.waiting.shift()?.();
    }
  }

  private spawn(args: string[], { timeoutMs = 60_000, signal, env }: RunOptions): Promise<MsbResult> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.options.path, args, {
        env: { ...this.environment(), ...env },
        stdio: ["ignore", "pipe", "pipe"],
        signal,
      });
      let timedOut = false;
      const timer = setTimeout(() => {
        timedOut = true;
        child.kill("SIGKILL");
      }, timeoutMs);
      const stdout = collect(child.stdout);
      const stderr = collect(child.stderr);
      child.on("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      child.on("exit", (code, killedBy) => {
        clearTimeout(timer);
        const finish = () => {
          clearTimeout(grace);
          const text = timedOut ? `no answer within ${timeoutMs / 1000} s` : stderr();
          resolve({ code: timedOut ? 124 : (code ?? (killedBy ? 128 : 1)), stdout: stdout(), stderr: text });
        };
        // What msb said may still be in the pipes: "close" comes when they are empty. A microVM that msb
        // left behind may hold them open, hence the limit; one that was killed has nothing to say.
        const leaves = code === 0 && LEAVES_MACHINE.has(args[0] ?? "");
        const grace = setTimeout(finish, timedOut ? 0 : leaves ? 50 : 2_000);
        child.once("close", finish);
      });
    });
  }

  /** Like {@link run}, but an exit code other than 0 is an {@link MsbError}. */
  async ok(args: string[], options?: RunOptions): Promise<string> {
    const result = await this.run(args, options);
    if (result.code !== 0) throw new MsbError(args[0] ?? "", result.code, result.stderr);
    return result.stdout;
  }

  /** For example "0.7.11"; asked once. */
  version(): Promise<string> {
    this.known ??= this.ok(["--version"]).then((text) => text.trim().replace(/^msb\s+/, ""));
    this.known.catch(() => {
      this.known = undefined;
    });
    return this.known;
  }

  async json(args: string[], options?: RunOptions): Promise<unknown> {
    return JSON.parse(await this.ok([...args, "--format", "json"], options));
  }

  /** The images in msb's cache, with the moments of their download. */
  async images(): Promise<z.infer<typeof imageList>> {
    return imageList.parse(await this.json(["image", "ls"]));
  }

  private environment(): NodeJS.ProcessEnv {
    const passed = PASSED_ON.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : []));
    return { HOME: "/tmp", ...Object.fromEntries(passed), MSB_HOME: this.options.home, NO_COLOR: "1" };
  }
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_OUTPUT) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
