import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { ServiceError } from "../../errors";
import { withFirstSignal } from "../../first-signal";
import type { DiskReserve } from "../../limits/disk-reserve";
import { type Msb, MsbError, outputOf } from "./command-line";
import { canonical, parseReference } from "./image-reference";
import { PullDisk } from "./pull-disk";
import { notAllowed, pullFailure } from "./pull-errors";
import type { PullProxy } from "./pull-proxy";
import type { Reach, RegistryRules } from "./registry-rules";

/** Credentials that serve one pull and are kept nowhere; "none" leaves the stack's own aside. */
export type PullLogin = { username: string; password: string } | "none";

export type PullRequest = {
  reference: string;
  /** Asks the registry even where the image is cached. */
  force: boolean;
  /** Without one, msb shows the stack's own login, if there is one for the registry. */
  login?: PullLogin;
  /** One owner has at most half of the lane of pulls. */
  owner: string;
  signal?: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch. */
  deadlineMs: number;
};

const PULL_TIMEOUT_MS = 15 * 60_000;
const PASSWORD = "GATEWAY_REGISTRY_PASSWORD";

export type PullsOptions = {
  rules: Pick<RegistryRules, "reachOf">;
  proxy: Pick<PullProxy, "lease">;
  /** msb's home. */
  home: string;
  /** A folder of the gateway's own for files of a single pull. */
  temporary: string;
  /** The disk of msb's home. */
  disk: Pick<DiskReserve, "check">;
};

/**
 * Pulls of images, each by one `msb pull`. Those who wait for the same image, with the same credentials, share one;
 * it ends when the last of them has gone.
 */
export class ImagePulls {
  private readonly shared = new Map<string, SharedPull>();
  private readonly disk: PullDisk;

  constructor(
    private readonly msb: Msb,
    private readonly options: PullsOptions,
  ) {
    this.disk = new PullDisk(options.home, options.disk, PULL_TIMEOUT_MS);
  }

  /** Removes what pulls have left that were ended. */
  removeUnfinished = (): Promise<void> => this.disk.removeUnfinished();

  /**
   * Resolves when the image is in msb's cache.
   * @throws ServiceError invalidSpec where the registry does not give it or is none of this server's, runtimeFailed where it fails, diskFull,
   *   timeout; the signal's reason
   */
  async pull(request: PullRequest): Promise<void> {
    request.signal?.throwIfAborted();
    const reach = this.options.rules.reachOf(request.reference);
    const key = keyOf(request);
    let pull = this.shared.get(key);
    if (!pull) {
      const made = new SharedPull(this.msb, (signal) =>
        this.disk.run(signal, (each) => this.run(request, reach, each)),
      );
      this.shared.set(key, made);
      made.over.addEventListener("abort", () => {
        if (this.shared.get(key) === made) this.shared.delete(key);
      });
      pull = made;
    }
    await pull.join(request);
  }

  private async run(request: PullRequest, reach: Reach, signal: AbortSignal): Promise<void> {
    const { reference, force, login } = request;
    const args = ["pull", "--quiet", ...(force ? ["--force"] : []), "--", reference];
    const turn = { signal, deadlineMs: Date.now() + PULL_TIMEOUT_MS };
    await mkdir(this.options.temporary, { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(this.options.temporary, "pull-"));
    const lease = this.options.proxy.lease(reach);
    try {
      const env = login && (await this.privateSettings(folder, reference, login));
      outputOf(args, await this.msb.runNow(args, turn, { ...lease.env, ...env }));
    } catch (error) {
      if (!(error instanceof MsbError)) throw error;
      throw lease.refused() ? notAllowed(reference) : pullFailure(reference, error);
    } finally {
      lease.end();
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** msb takes no credentials on its command line: they are settings of its own for this one process. */
  private async privateSettings(
    folder: string,
    reference: string,
    login: PullLogin,
  ): Promise<Record<string, string>> {
    const settings = await this.msbSettings();
    const { registry } = parseReference(reference);
    const { auth: _stacks, ...host } = settings.registries.hosts[registry] ?? {};
    const own =
      login === "none" ? host : { ...host, auth: { username: login.username, password_env: PASSWORD } };
    const hosts = { ...settings.registries.hosts, [registry]: own };
    const path = join(folder, "config.json");
    const text = JSON.stringify({ ...settings, registries: { ...settings.registries, hosts } });
    await writeFile(path, text, { mode: 0o600 });
    // Logins of Docker's in a home would serve as well.
    const env = { MSB_CONFIG_PATH: path, HOME: folder };
    return login === "none" ? env : { ...env, [PASSWORD]: login.password };
  }

  private async msbSettings(): Promise<z.infer<typeof msbSettings>> {
    try {
      return msbSettings.parse(JSON.parse(await readFile(join(this.options.home, "config.json"), "utf8")));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return msbSettings.parse({});
      throw error;
    }
  }
}

const msbSettings = z.looseObject({
  registries: z.looseObject({ hosts: z.record(z.string(), z.looseObject({})).default({}) }).prefault({}),
});

/** Pulls may be shared only by those who would have made the very same one. */
function keyOf({ reference, force, login }: PullRequest): string {
  const text = JSON.stringify([canonical(reference), force, login ?? null]);
  return createHash("sha256").update(text).digest("hex");
}

class SharedPull {
  private readonly ended = new AbortController();
  private readonly abandoned = new AbortController();
  private readonly asked = new Set<string>();
  private waiting = 0;
  private running: Promise<void> | undefined;
  private readonly outcome: Promise<void>;
  private settle: { resolve: () => void; reject: (error: unknown) => void } = {
    resolve: () => undefined,
    reject: () => undefined,
  };

  constructor(
    private readonly msb: Msb,
    private readonly work: (signal: AbortSignal) => Promise<void>,
  ) {
    this.outcome = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.outcome.catch(() => undefined);
  }

  /** Aborted when nobody can join any more. */
  get over(): AbortSignal {
    return this.ended.signal;
  }

  /** Waits for the pull. Each owner asks for a turn once: the first turn that comes starts it, whoever's it is. */
  async join({ owner, signal, deadlineMs }: PullRequest): Promise<void> {
    this.waiting++;
    const late = () => new ServiceError("timeout", "the image did not arrive in time");
    const arrival = (over: AbortSignal) => Promise.race([this.turnOf(owner), failsWith(over)]);
    try {
      await withFirstSignal([signal], arrival, deadlineMs - Date.now(), late);
    } finally {
      if (--this.waiting === 0) {
        this.ended.abort();
        this.abandoned.abort(new ServiceError("conflict", "nobody waits for the image any more"));
      }
    }
  }

  /** Resolves when the pull is done, fails where the owner gets no turn and nothing runs. */
  private async turnOf(owner: string): Promise<void> {
    if (this.asked.has(owner)) return this.outcome;
    this.asked.add(owner);
    const turn = { owner, signal: this.abandoned.signal, deadlineMs: Date.now() + PULL_TIMEOUT_MS };
    try {
      await this.msb.lanes.run("pulls", turn, () => this.start());
    } catch (error) {
      this.asked.delete(owner);
      if (!this.running) throw error;
    }
    return this.outcome;
  }

  /** Keeps its turn while the pull runs; where it runs in another turn already, this one is given back. */
  private async start(): Promise<void> {
    if (this.running) return;
    this.running = this.work(this.abandoned.signal);
    try {
      await this.running;
      this.settle.resolve();
    } catch (error) {
      this.settle.reject(error);
    } finally {
      this.ended.abort();
    }
  }
}

/** Fails when the signal aborts, for its reason. */
const failsWith = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    const fail = () => reject(signal.reason);
    if (signal.aborted) fail();
    signal.addEventListener("abort", fail, { once: true });
  });
