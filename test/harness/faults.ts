import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../setup/project";

/** The fake msb that fails as it is told to; see its head for what it reads. */
export const faultyMsb = join(projectRoot, "test/harness/faulty-msb.sh");

/** How a command may fail: the cases of faulty-msb.sh. */
export const FAULTS = [
  ...(["unknown", "locked", "full", "signal", "garbage"] as const),
  ...(["hang", "late", "done-failed", "done-late"] as const),
] as const;
/** `slow` is no failure: the command takes two and a half seconds more. */
export type Fault = (typeof FAULTS)[number] | "slow";
/** A command of msb, how it fails, and how often of a thousand times. */
export type FaultRule = [command: string, fault: Fault, perMille: number];

/** What a fake msb knows and does, from outside the gateway: a home's `fake` folder. */
export class FakeMsb {
  private readonly folder: string;

  constructor(readonly home: string) {
    this.folder = join(home, "fake");
    mkdirSync(join(this.folder, "sandboxes"), { recursive: true });
    mkdirSync(join(this.folder, "volumes"), { recursive: true });
    mkdirSync(join(this.folder, "snapshots"), { recursive: true });
  }

  /** From now on its commands fail by these rules. */
  fail(rules: readonly FaultRule[], seed: number): void {
    writeFileSync(join(this.folder, "chance"), `${seed}\n`);
    const lines = rules.map((rule) => rule.join(" "));
    this.replace("faults", `${lines.join("\n")}\n`);
  }

  /** The end of all faults; what hangs fails within a tenth of a second. */
  recover(): void {
    rmSync(join(this.folder, "faults"), { force: true });
  }

  /** Every sandbox by the name that msb knows it by, with its state. */
  sandboxes(): Map<string, string> {
    const found = new Map<string, string>();
    for (const file of readdirSync(join(this.folder, "sandboxes"))) {
      if (!file.endsWith(".status")) continue;
      const status = this.read(join("sandboxes", file));
      // What a command that was killed had begun to write may come after its removal.
      if (this.read(join("sandboxes", file.replace(/status$/, "conf"))) === undefined) continue;
      if (status !== undefined) found.set(file.slice(0, -".status".length), status);
    }
    return found;
  }

  volumes = (): string[] => readdirSync(join(this.folder, "volumes"));
  snapshots = (): string[] => readdirSync(join(this.folder, "snapshots"));

  /** A microVM ends by itself. False if there is none of that name, or none that runs. */
  die(name: string, status: "Crashed" | "Stopped"): boolean {
    const now = this.read(join("sandboxes", `${name}.status`));
    if (now !== "Running" && now !== "Paused") return false;
    this.replace(join("sandboxes", `${name}.status`), `${status}\n`);
    return true;
  }

  private read(file: string): string | undefined {
    try {
      return readFileSync(join(this.folder, file), "utf8").trim();
    } catch {
      return undefined; // Removed meanwhile.
    }
  }

  private replace(file: string, text: string): void {
    const path = join(this.folder, file);
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  }
}
