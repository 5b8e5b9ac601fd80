import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { isKind, ServiceError } from "../../errors";
import type { Resolved } from "../../sandboxes/backend";
import { inTermsOf, type Msb, outputOf, type RunOptions } from "./command-line";
import type { CreatePlan } from "./create-plan";
import type { Seen } from "./reconciler";
import type { SandboxFolders } from "./sandbox-folders";

const listed = z.array(z.object({ name: z.string(), status: z.string(), created_at: z.string() }));

/** msb's words for a sandbox's state, in lower case; any other is a sandbox that failed. */
const OBSERVED: Record<string, Seen["observed"]> = {
  running: "running",
  paused: "paused",
  starting: "running",
  draining: "running",
  stopping: "running",
  stopped: "stopped",
};

const textOrNull = z.string().nullish().catch(null);
const inspected = z.object({
  config: z.object({
    image: z.object({ Oci: z.object({ reference: z.string() }).optional() }).catch({}),
    resources: z.object({ cpus: z.int(), memory_mib: z.int() }),
    runtime: z.object({
      workdir: textOrNull,
      shell: textOrNull,
      user: textOrNull,
      entrypoint: z.array(z.string()).nullish().catch(null),
      cmd: z.array(z.string()).nullish().catch(null),
    }),
    labels: z.record(z.string(), z.string()).catch({}),
  }),
});

export type CallOptions = Omit<RunOptions, "env">;

/** The sandbox commands of msb, with its text errors turned into the contract's. */
export class SandboxCommands {
  constructor(
    private readonly msb: Msb,
    private readonly temporary: string,
    private readonly folders: Pick<SandboxFolders, "remove">,
  ) {}

  async list(): Promise<Seen[]> {
    const rows = await this.msb.json(["ls"], listed, { owner: null });
    return rows.map(({ name, status, created_at }) => ({
      name,
      observed: OBSERVED[status.toLowerCase()] ?? "crashed",
      createdAt: created_at,
    }));
  }

  /** What msb made of a request: the image's own defaults are filled in. */
  async inspect(name: string, options: CallOptions): Promise<Resolved> {
    const text = await this.call(name, ["inspect", "--format", "json", "--", name], options);
    const { image, resources, runtime, labels } = inspected.parse(JSON.parse(text)).config;
    const { cpus, memory_mib } = resources;
    return { ...runtime, reference: image.Oci?.reference ?? "", vcpus: cpus, memoryMib: memory_mib, labels };
  }

  /** Makes and boots a sandbox; resolves when its agent answers. The plan's files live only as long. */
  async create(name: string, plan: CreatePlan, options: CallOptions): Promise<void> {
    await mkdir(this.temporary, { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(this.temporary, "create-"));
    try {
      const conf = join(folder, "sandbox.json");
      await writeFile(conf, JSON.stringify(plan.conf), { mode: 0o600 });
      const args = ["create", "--quiet", "--conf", conf];
      for (const [index, [script, body]] of Object.entries(plan.scripts).entries()) {
        const path = join(folder, `script-${index}`);
        await writeFile(path, body, { mode: 0o600 });
        args.push("--script-path", `${script}:${path}`);
      }
      await this.boot(name, [...args, ...plan.args, "--name", name], { ...options, env: plan.env });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Makes and boots a sandbox from a snapshot. @param args as `restoreArguments` has them */
  restore = (name: string, selector: string, args: string[], options: CallOptions): Promise<void> =>
    this.boot(name, ["restore", "--quiet", ...args, "--name", name, selector], {
      ...options,
      env: NO_REGISTRY,
    });

  /**
   * Makes forks of a sandbox that runs or is paused, all of one moment. For a caller that has its turn.
   *
   * msb takes any network rule for a resource of the host's, and forks such a sandbox only with all of them: secrets and
   * volumes, too.
   */
  async fork(source: string, names: string[], signal: AbortSignal): Promise<void> {
    const each = names.map((name) => `--names=${name}`);
    const args = ["fork", "--quiet", "--dangerously-inherit-resources", ...each, "--", source];
    const once = async () => {
      const result = await this.msb.runNow(args, { signal, deadlineMs: Date.now() + FORK_TIMEOUT_MS });
      try {
        outputOf(args, result);
      } catch (error) {
        throw inTermsOf(error, { what: "sandbox", name: source });
      }
    };
    await this.again(once, async () => {
      for (const name of names) await this.remove(name, { owner: null, signal });
    });
  }

  start = (name: string, options: CallOptions): Promise<void> =>
    this.boot(name, ["start", "--", name], options);

  /** Stops the CPUs of one that runs; its memory is kept. */
  pause = async (name: string, options: CallOptions): Promise<void> =>
    void (await this.call(name, ["pause", "--quiet", "--", name], options));

  /** Lets one that is paused go on. */
  resume = async (name: string, options: CallOptions): Promise<void> =>
    void (await this.call(name, ["resume", "--quiet", "--", name], options));

  /**
   * Stops cleanly; by force only what was asked and had the whole grace time.
   * @throws ServiceError timeout where no turn came: the guest was not asked
   */
  async stop(name: string, graceSeconds: number, { signal, owner }: CallOptions): Promise<void> {
    const timeoutMs = (graceSeconds + 15) * 1000;
    const args = ["stop", "--timeout", String(graceSeconds), "--", name];
    let asked: number | undefined;
    const before = () => {
      asked ??= performance.now();
    };
    for (;;)
      try {
        await this.call(name, args, { timeoutMs, signal, owner, before });
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (isKind(error, "sandboxNotFound") || asked === undefined) throw error;
        const leftMs = asked + graceSeconds * 1000 - performance.now();
        if (leftMs <= 0) break;
        await sleep(Math.min(leftMs, STOP_AGAIN_MS), undefined, { signal });
      }
    await this.call(name, ["stop", "--force", "--", name], { signal, owner });
  }

  /** Stops cleanly within the time, or not at all; a paused one is resumed for that. It waits for no turn. */
  async stopNow(name: string, timeoutMs: number, paused: boolean): Promise<void> {
    const deadlineMs = Date.now() + timeoutMs;
    for (const command of paused ? ["resume", "stop"] : ["stop"]) {
      const args = [command, "--quiet", "--", name];
      outputOf(args, await this.msb.runNow(args, { deadlineMs }));
    }
  }

  /**
   * Removes a sandbox, running or not, with what a create that failed has left of it: `msb rm` does not find its folder,
   * and `msb create` refuses the name for its sake. One that is not there is no error.
   */
  async remove(name: string, options: CallOptions): Promise<void> {
    try {
      await this.call(name, ["rm", "--force", "--", name], options);
    } catch (error) {
      if (!isKind(error, "sandboxNotFound")) throw error;
    }
    await this.folders.remove(name);
  }

  private async boot(name: string, args: string[], options: RunOptions): Promise<void> {
    const clean = async () => {
      if (args[0] !== "start") await this.remove(name, options);
    };
    await this.again(() => this.call(name, args, options), clean);
  }

  /** msb first asks its own program what it is, and gives it two seconds, which a busy host may not have. */
  private async again(boot: () => Promise<unknown>, clean: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        await boot();
        return;
      } catch (error) {
        const late = error instanceof ServiceError && LATE_PROBE.test(error.message);
        if (!late || tries === BOOT_TRIES) throw error;
        // Nothing runs by then; what there is of it depends on which probe was late.
        await clean();
      }
  }

  private async call(name: string, args: string[], options: RunOptions): Promise<string> {
    try {
      return await this.msb.ok(args, options);
    } catch (error) {
      throw inTermsOf(error, { what: "sandbox", name });
    }
  }
}

/**
 * A restore has no flag that keeps it from a registry, where its image is not cached any more. What may be pulled, and
 * from where, is for pulls to say; so it finds no way out. Nothing listens there, and guests know nothing of it.
 */
const NOWHERE = "http://127.0.0.1:1";
const NO_REGISTRY = { HTTPS_PROXY: NOWHERE, HTTP_PROXY: NOWHERE };

const FORK_TIMEOUT_MS = 15 * 60_000;
const BOOT_TRIES = 3;
/** Milliseconds between a stop that msb failed at and the next. */
const STOP_AGAIN_MS = 2_000;

/** What msb 0.7.11 says of that: it takes the silence of a late probe for a runtime without the feature. */
const LATE_PROBE = /runtime version probe timed out|selected msb runtime does not support/;
