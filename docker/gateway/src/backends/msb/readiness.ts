import { constants } from "node:fs";
import { access, mkdir, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "../../errors";
import type { Check } from "../../sandboxes/backend";
import { within } from "../../within";

export type Readiness = { ready: boolean; checks: Record<string, Check> };

const CACHE_MS = 5_000;
/** How long the question to msb is waited for, its turn included. */
const MSB_ANSWERS_MS = 5_000;
/** How long ago msb may have answered where it takes longer: a busy host is slow, not broken. */
const MSB_SILENT_MS = 120_000;

/**
 * What must hold before the server can serve: asked by the container's health check and by
 * people. One set of checks serves every caller for five seconds, so that asking is cheap.
 */
export class ReadinessProbe {
  private last: { at: number; answer: Promise<Readiness> } | undefined;
  /** When msb answered last, by performance.now(). */
  private answeredAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly options: { home: string; kvmDevice: string },
    private readonly parts: {
      /** Brings what is known of sandboxes up to date: fails if msb does not answer. */
      ask: (maxAgeMs: number) => Promise<void>;
      /** Why what msb answers is not to be trusted, where it is not. */
      distrust: () => string | undefined;
      starter: () => Check;
    },
  ) {}

  check(now = Date.now()): Promise<Readiness> {
    if (!this.last || now - this.last.at > CACHE_MS) this.last = { at: now, answer: this.run() };
    return this.last.answer;
  }

  private async run(): Promise<Readiness> {
    const [state, msb, kvm] = await Promise.all([
      stateVolume(this.options.home),
      this.msbAnswers(),
      kvmOpens(this.options.kvmDevice),
    ]);
    const checks = { state, msb, kvm, starter: this.parts.starter() };
    return { ready: Object.values(checks).every((check) => check.ok), checks };
  }

  /** One question serves both: whether msb answers, and what ended without the gateway's doing. */
  private async msbAnswers(): Promise<Check> {
    try {
      const asked = this.parts.ask(CACHE_MS).then(() => {
        this.answeredAt = performance.now();
      });
      if (await within(asked, MSB_ANSWERS_MS)) {
        const reason = this.parts.distrust();
        return reason === undefined ? { ok: true } : { ok: false, reason };
      }
      const reason = `msb takes longer than ${MSB_ANSWERS_MS / 1000} s to answer`;
      return { ok: performance.now() - this.answeredAt < MSB_SILENT_MS, reason };
    } catch (error) {
      return { ok: false, reason: `msb does not answer: ${errorText(error)}` };
    }
  }
}

async function stateVolume(home: string): Promise<Check> {
  const path = join(home, "gateway", ".probe");
  try {
    await mkdir(join(home, "gateway"), { recursive: true, mode: 0o700 });
    const file = await open(path, "w", 0o600);
    try {
      await file.write("probe");
      await file.sync();
    } finally {
      await file.close();
    }
    await unlink(path);
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: `the state volume at ${home} can't be written: ${errorText(error)}` };
  }
}

async function kvmOpens(device: string): Promise<Check> {
  try {
    await access(device, constants.F_OK);
  } catch {
    return {
      ok: false,
      reason: `${device} is not in the container: the host has no KVM, or the container lacks the device`,
    };
  }
  try {
    await (await open(device, constants.O_RDWR)).close();
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: `${device} does not open for reading and writing: ${errorText(error)}` };
  }
}
