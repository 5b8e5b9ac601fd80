import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** A server in a process of its own, with a log. It ends with this process at the latest. */
export class Program {
  private readonly child: ChildProcess;
  /** Settles with how it ended; never rejects. */
  private readonly ended: Promise<string>;
  private end: string | undefined;

  constructor(
    path: string,
    private readonly name: string,
    args: readonly string[],
    private readonly log: string,
  ) {
    const output = openSync(log, "w");
    this.child = spawn(path, args, { stdio: ["ignore", output, output], cwd: tmpdir() });
    closeSync(output);
    children.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.once("error", (error) => resolve(error.message));
      this.child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
    });
    void this.ended.then((how) => {
      this.end = how;
      children.delete(this.child);
    });
  }

  /** Waits until `isReady` is true. @throws Error with the end of the log if the program ends or time is up */
  async ready(isReady: () => Promise<boolean>, withinMs: number): Promise<void> {
    const deadline = Date.now() + withinMs;
    while (!(await isReady().catch(() => false))) {
      const why = this.end ?? (Date.now() > deadline ? `not ready within ${withinMs / 1000} s` : undefined);
      if (why !== undefined)
        throw new Error(`${this.name} did not come up (${why}). Its log:\n${this.tail()}`);
      await sleep(100);
    }
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }

  private tail = (): string => readFileSync(this.log, "utf8").split("\n").slice(-20).join("\n");
}
