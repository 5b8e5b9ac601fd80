import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../../errors";
import { writeFileAtomically } from "../../files/atomic-file";

/**
 * Notes on the state volume which version of microsandbox uses it from now on.
 *
 * @throws ConfigError where a newer one has written it: msb would damage what it does not know
 */
export async function claimState(home: string, version: string): Promise<void> {
  const file = join(home, "gateway", "version");
  const last = (await readFile(file, "utf8").catch(() => "")).trim();
  if (last === version) return;
  if (isNewer(last, version))
    throw new ConfigError(
      `The state volume was last used by microsandbox ${last}; this server is ${version} and would damage it.\n` +
        `To go on with it: npm run pulumi -- config set version ${last} && npm run up`,
    );
  await mkdir(join(home, "gateway"), { recursive: true, mode: 0o700 });
  await writeFileAtomically(file, version);
}

/**
 * The claim of the state for the msb that is here, made as soon as msb tells its version. One that does not answer yet
 * is asked again with each {@link settle}.
 */
export class StateClaim {
  private made = false;
  private asking: Promise<void> | undefined;

  constructor(
    private readonly home: string,
    private readonly version: () => Promise<string>,
  ) {}

  /** Resolves when it is made, or msb could not be asked. @throws ConfigError as {@link claimState} */
  settle(): Promise<void> {
    if (this.made) return Promise.resolve();
    this.asking ??= this.make().finally(() => {
      this.asking = undefined;
    });
    return this.asking;
  }

  private async make(): Promise<void> {
    // An msb that does not run at all is what the readiness check tells of.
    const version = await this.version().catch(() => undefined);
    if (version === undefined) return;
    await claimState(this.home, version);
    this.made = true;
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
