import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { invalidSpec, isKind, nameTaken, ServiceError, sandboxNotFound } from "../../errors";
import { lastLine, type Msb, MsbError } from "./command-line";
import type { CreatePlan } from "./create-plan";

/** msb's own word for a sandbox's state, in lower case. */
export type MsbStatus = string;
export type Listed = { name: string; status: MsbStatus; createdAt: string; reference: string };

const listed = z.array(
  z.object({ name: z.string(), status: z.string(), created_at: z.string(), image: z.string().catch("") }),
);

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
    lifecycle: z
      .object({
        ephemeral: z.boolean().catch(false),
        max_duration_secs: z.int().nullish().catch(null),
        idle_timeout_secs: z.int().nullish().catch(null),
      })
      .catch({ ephemeral: false, max_duration_secs: null, idle_timeout_secs: null }),
  }),
});

/** What msb made of a request: the image's own defaults are filled in. */
export type Resolved = z.infer<typeof inspected>["config"];

const BOOT_TIMEOUT_MS = 15 * 60_000;

/** The sandbox commands of msb, with its text errors turned into the contract's. */
export class MsbSandboxes {
  constructor(
    private readonly msb: Msb,
    private readonly temporary: string,
  ) {}

  async list(): Promise<Listed[]> {
    const rows = listed.parse(await this.call("ls", ["ls", "--format", "json"], parseJson));
    return rows.map(({ name, status, created_at, image }) => ({
      name,
      status: status.toLowerCase(),
      createdAt: created_at,
      reference: image,
    }));
  }

  async inspect(name: string): Promise<Resolved> {
    const args = ["inspect", "--format", "json", "--", name];
    return inspected.parse(await this.call(name, args, parseJson)).config;
  }

  /** Makes and boots a sandbox; resolves when its agent answers. The plan's files live only as long. */
  async create(name: string, plan: CreatePlan): Promise<void> {
    await mkdir(this.temporary, { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(this.temporary, "create-"));
    try {
      const conf = join(folder, "sandbox.json");
      await writeFile(conf, JSON.stringify(plan.conf), { mode: 0o600 });
      const scripts = await Promise.all(
        Object.entries(plan.scripts).map(async ([script, body], index) => {
          const path = join(folder, `script-${index}`);
          await writeFile(path, body, { mode: 0o600 });
          return ["--script-path", `${script}:${path}`];
        }),
      );
      const args = ["create", "--quiet", "--conf", conf, ...scripts.flat(), ...plan.args, "--name", name];
      await this.boot(name, args, plan.env);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  start = (name: string) => this.boot(name, ["start", "--", name]);

  /** Stops cleanly; after the grace time by force. */
  async stop(name: string, graceSeconds: number): Promise<void> {
    const timeoutMs = (graceSeconds + 15) * 1000;
    try {
      await this.call(name, ["stop", "--timeout", String(graceSeconds), "--", name], undefined, {
        timeoutMs,
      });
    } catch (error) {
      if (isKind(error, "sandboxNotFound")) throw error;
      await this.call(name, ["stop", "--force", "--", name]);
    }
  }

  /** Removes a sandbox, running or not; one that is not there is no error. */
  async remove(name: string): Promise<void> {
    try {
      await this.call(name, ["rm", "--force", "--", name], undefined, { timeoutMs: 120_000 });
    } catch (error) {
      if (!isKind(error, "sandboxNotFound")) throw error;
    }
  }

  /** msb first asks its own program for the version, and gives it two seconds, which a busy host may not have. */
  private async boot(name: string, args: string[], env?: Record<string, string>): Promise<void> {
    const options = { timeoutMs: BOOT_TIMEOUT_MS, env };
    try {
      await this.call(name, args, undefined, options);
    } catch (error) {
      // Nothing was made by then.
      if (!(error instanceof ServiceError && error.message.includes(PROBE_TIMEOUT))) throw error;
      await this.call(name, args, undefined, options);
    }
  }

  private async call(
    name: string,
    args: string[],
    read: (stdout: string) => unknown = () => undefined,
    options: { timeoutMs?: number; env?: Record<string, string> } = {},
  ): Promise<unknown> {
    try {
      return read(await this.msb.ok(args, options));
    } catch (error) {
      throw error instanceof MsbError ? translate(name, error) : error;
    }
  }
}

/** What msb 0.7.11 says of that. */
const PROBE_TIMEOUT = "runtime version probe timed out";

const parseJson = (text: string): unknown => JSON.parse(text);

/** msb has no machine-readable errors: its sentences are matched, and passed on. */
export function translate(name: string, { code, stderr }: MsbError): ServiceError {
  const said = lastLine(stderr);
  if (/sandbox not found/i.test(stderr)) return sandboxNotFound(name);
  if (/sandbox.*already exists|already exists.*sandbox/i.test(stderr)) return nameTaken(name);
  if (/volume not found/i.test(stderr)) return invalidSpec(said);
  if (/image error|registry error|not cached/i.test(stderr)) return invalidSpec(said);
  if (/invalid (config|sandbox configuration|rule)|is not (a valid|a recognized)|is ambiguous/i.test(stderr))
    return invalidSpec(said);
  if (code === 2) return invalidSpec(said);
  const reason = stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("→") && !line.includes("msb logs"))
    .map((line) => line.replace(/^→\s*(other:\s*)?/, ""));
  return new ServiceError("runtimeFailed", [said, ...reason].join(": "));
}
