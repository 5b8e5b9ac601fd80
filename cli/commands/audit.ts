import { join } from "node:path";
import { z } from "zod";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { UserError } from "../../setup/user-error";

/** From what is worth knowing to what can't wait. */
const SEVERITIES = ["info", "low", "moderate", "high", "critical"] as const;
type Severity = (typeof SEVERITIES)[number];

/** What runs with the rights of whoever deploys, and what is bundled into the image. */
const LOCKS = [
  { of: "this project", folder: projectRoot, flags: [] },
  { of: "the gateway in the image", folder: join(projectRoot, "docker/gateway"), flags: ["--omit=dev"] },
];

/** What was learnt about the packages of one lock. `unknown` is why nobody answered. */
type Verdict = { lines: string[]; severe: boolean } | { unknown: string };

const advisories = z.object({
  vulnerabilities: z.record(
    z.string(),
    z.object({ severity: z.enum(SEVERITIES), range: z.string(), via: z.array(z.unknown()) }),
  ),
});
const signatures = z.object({
  invalid: z.array(z.object({ name: z.string(), version: z.string() })),
  missing: z.array(z.object({ name: z.string(), version: z.string() })),
});
const refusal = z.object({
  message: z.string().optional(),
  error: z.object({ summary: z.string() }).partial(),
});

/**
 * `npm run audit`: what the registry's advisories and signatures say of the npm packages. Exit code 1 where there is an
 * advisory of that severity or a signature that is wrong, 2 where nobody answered, so that nothing is known.
 */
export async function audit(level: string): Promise<void> {
  const least = SEVERITIES.indexOf(level as Severity);
  if (least < 0) throw new UserError(`--level ${level}: expected one of ${SEVERITIES.join(", ")}`);
  const verdicts: Verdict[] = [];
  for (const { of, folder, flags } of LOCKS) {
    for (const [what, words, read] of [
      ["advisories", [], (json: unknown) => readAdvisories(json, least)],
      ["signatures", ["signatures"], readSignatures],
    ] as const) {
      const verdict = read(await npmAudit(folder, [...words, ...flags]));
      const lines = "unknown" in verdict ? [`not known: ${verdict.unknown}`] : verdict.lines;
      console.log(`${what} for ${of}: ${lines.join("\n  ")}`);
      verdicts.push(verdict);
    }
  }
  process.exitCode = exitCodeOf(verdicts);
  if (process.exitCode === 2)
    console.log(
      "\nNot everything was asked: where advisories or signing keys can't be reached, this tells nothing about the " +
        "packages.\nTo ask elsewhere: npm run audit on a machine that reaches them, or with npm_config_registry=URL",
    );
}

/** @returns what npm printed as JSON; it ends with 1 for findings and failures alike */
export async function npmAudit(folder: string, words: string[]): Promise<unknown> {
  const flags = ["--json", "--loglevel=silent", "--fetch-retries=0"];
  const { stdout } = await exec("npm", ["audit", ...words, ...flags], {
    cwd: folder,
    reject: false,
    stdin: "ignore",
  });
  try {
    return JSON.parse(stdout);
  } catch {
    return { error: { summary: `npm audit said: ${stdout.slice(0, 200)}` } };
  }
}

/** Reads `npm audit --json`. @param least - index of the severity that counts */
export function readAdvisories(json: unknown, least: number): Verdict {
  const { success, data } = advisories.safeParse(json);
  if (!success) return { unknown: reasonOf(json) };
  const found = Object.entries(data.vulnerabilities).map(([name, { severity, range, via }]) => {
    const titles = via.flatMap((each) => z.object({ title: z.string() }).safeParse(each).data?.title ?? []);
    const line = `${severity}: ${name} ${range}${titles.length > 0 ? ` (${titles.join("; ")})` : ""}`;
    return { line, counts: SEVERITIES.indexOf(severity) >= least };
  });
  if (found.length === 0) return { lines: ["none"], severe: false };
  return {
    lines: [String(found.length), ...found.map(({ line }) => line)],
    severe: found.some(({ counts }) => counts),
  };
}

/** Reads `npm audit signatures --json`. A package without a signature is told; one that is wrong counts. */
export function readSignatures(json: unknown): Verdict {
  const { success, data } = signatures.safeParse(json);
  if (!success) return { unknown: reasonOf(json) };
  const lines = (["invalid", "missing"] as const).flatMap((what) =>
    data[what].map(({ name, version }) => `${what}: ${name}@${version}`),
  );
  return { lines: lines.length > 0 ? lines : ["all are right"], severe: data.invalid.length > 0 };
}

function reasonOf(json: unknown): string {
  const { message, error } = refusal.safeParse(json).data ?? {};
  return message || error?.summary || "npm gave no reason";
}

/** 1: something severe; 2: nothing severe is known, but not everybody answered; 0: all is well. */
export function exitCodeOf(verdicts: Verdict[]): number {
  if (verdicts.some((verdict) => "severe" in verdict && verdict.severe)) return 1;
  return verdicts.some((verdict) => "unknown" in verdict) ? 2 : 0;
}
