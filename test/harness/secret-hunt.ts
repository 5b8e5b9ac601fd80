import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";

/** What must be found nowhere in plain text, by the name under which a failure tells of it. */
export type Secrets = Record<string, string>;

/** Names of the secrets that a text holds. */
export function secretsIn(text: string, secrets: Secrets): string[] {
  return Object.entries(secrets).flatMap(([name, secret]) => (text.includes(secret) ? [name] : []));
}

/** Files below a folder of the checkout that hold a secret. */
export async function filesWithSecrets(folder: string, secrets: Secrets): Promise<string[]> {
  const options = ["--recursive", "--files-with-matches", "--text", "--fixed-strings"];
  // The patterns go through standard input: as arguments they would be in the process list.
  const { stdout } = await exec("grep", [...options, "--file=-", folder], {
    cwd: projectRoot,
    input: Object.values(secrets).join("\n"),
    reject: false,
  });
  return stdout.split("\n").filter(Boolean);
}

/** How many lines of an image's layers, history and configuration hold one of these words. */
export async function linesInImage(image: string, words: string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "microsandbox-hunt-"));
  try {
    const patterns = join(folder, "patterns");
    writeFileSync(patterns, words.join("\n"), { mode: 0o600 });
    const line = 'docker save "$0" | grep --text --count --fixed-strings --file="$1" || true';
    const { stdout } = await exec("sh", ["-c", line, image, patterns], { stdin: "ignore" });
    return Number(stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Looks at the command lines of all processes of this machine, again and again; sees what lives for a moment, too.
 * It keeps them: a secret that is made meanwhile is looked for in the end.
 */
export class ProcessWatch {
  private readonly seen = new Set<string>();
  private looks = 0;
  private readonly timer = setInterval(() => this.look(), 100);

  /** How often was looked, and the command lines. */
  stop(): { looks: number; lines: string[] } {
    clearInterval(this.timer);
    return { looks: this.looks, lines: [...this.seen] };
  }

  private look(): void {
    this.looks++;
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
      this.seen.add(commandLine(pid));
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
