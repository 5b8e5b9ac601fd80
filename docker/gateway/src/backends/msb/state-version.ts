import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, errorText } from "../../errors";
import { writeFileAtomically } from "../../files/atomic-file";
import type { LifecycleLog } from "./lifecycle";

/**
 * Notes on the state volume which version of microsandbox uses it from now on.
 *
 * @throws ConfigError where a newer one has written it: msb would damage what it does not know
 * @throws Error where that can't be told, or the note can't be written: both may work later
 */
export async function claimState(home: string, version: string): Promise<void> {
  if (await mayUse(home, version)) await note(home, version);
}

/** @returns whether it is still to be noted. @throws as {@link claimState} */
async function mayUse(home: string, version: string): Promise<boolean> {
  const last = (await readFile(fileIn(home), "utf8").catch(unlessMissing)).trim();
  if (isNewer(last, version))
    throw new ConfigError(
      `The state volume was last used by microsandbox ${last}; this server is ${version} and would damage it.\n` +
        `To go on with it: set version to ${last} in the settings of its stack, then run up.`,
    );
  return last !== version;
}

async function note(home: string, version: string): Promise<void> {
  await mkdir(join(home, "gateway"), { recursive: true, mode: 0o700 });
  await writeFileAtomically(fileIn(home), version);
}

const fileIn = (home: string) => join(home, "gateway", "version");

function unlessMissing(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return "";
  throw error;
}

/**
 * The claim of the state for the msb that is here, made as soon as msb tells its version. What does not work yet is
 * tried again with each {@link settle}.
 */
export class StateClaim {
  private made = false;
  private asking: Promise<void> | undefined;
  private refusal: ConfigError | undefined;
  /** What was complained of last: it is tried every few seconds. */
  private complaint = "";

  constructor(
    private readonly home: string,
    private readonly version: () => Promise<string>,
    private readonly log: Pick<LifecycleLog, "error">,
  ) {}

  /** The state is too new: msb must not so much as be asked for a list. */
  get refused(): boolean {
    return this.refusal !== undefined;
  }

  /**
   * Resolves when msb may use the state, or could not be asked. A full disk is no reason against it: only removals make
   * room there.
   * @throws ConfigError as {@link claimState}; Error where the note of the version can't be read
   */
  begin(): Promise<void> {
    if (this.made) return Promise.resolve();
    this.asking ??= this.make().finally(() => {
      this.asking = undefined;
    });
    return this.asking;
  }

  /** The same once the server serves: what may work later is tried again by the next call. @throws ConfigError */
  async settle(claimed = this.begin()): Promise<void> {
    try {
      await claimed;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      this.complain(error, "the version of the state can't be read; it is tried again");
    }
  }

  private async make(): Promise<void> {
    // An msb that does not run at all is what the readiness check tells of.
    const version = await this.version().catch(() => undefined);
    if (version === undefined) return;
    try {
      if (await mayUse(this.home, version)) await this.noteIfPossible(version);
      else this.made = true;
    } catch (error) {
      if (error instanceof ConfigError) this.refusal = error;
      throw error;
    }
  }

  private async noteIfPossible(version: string): Promise<void> {
    try {
      await note(this.home, version);
      this.made = true;
    } catch (error) {
      this.complain(error, "the version of the state can't be noted; it is tried again");
    }
  }

  private complain(error: unknown, what: string): void {
    const err = errorText(error);
    if (err !== this.complaint) this.log.error({ err }, what);
    this.complaint = err;
  }
}

/** Whether version `a` is newer than `b`; an empty one is older than any. */
export function isNewer(a: string, b: string): boolean {
  const [left, right] = [numbers(a), numbers(b)];
  for (let part = 0; part < 3; part++) {
    const difference = (left[part] ?? 0) - (right[part] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  // 1.0.0-beta.1 comes before 1.0.0.
  return a !== "" && !a.includes("-") && b.includes("-");
}

const numbers = (version: string): number[] => version.split("-")[0]?.split(".").map(Number) ?? [];
