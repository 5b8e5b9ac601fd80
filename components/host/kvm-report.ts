import * as z from "zod";
import { VisibleError } from "../settings/visible-error";

/** What kvm-check.sh prints: one line of JSON. */
export const kvmReportSchema = z.object({
  /** Whether /dev/kvm can be used. */
  ok: z.boolean(),
  code: z.enum([
    "ok",
    "macos",
    "not-linux",
    "unsupported-arch",
    "wsl2",
    "firmware-disabled",
    "nested-off",
    "no-cpu-support",
    "module-missing",
    "missing",
    "not-a-device",
    "no-permission",
    "group-after-login",
    "blocked",
    "busy",
  ]),
  /** One sentence: what was found. */
  message: z.string(),
  /** The command that fixes it; empty where there is nothing to fix. */
  remedy: z.string(),
  /** The device opens, yet the CPU shows no virtualization: a boot check would most likely fail. */
  guestsUnlikely: z.boolean(),
  /** Facts that stay the same from run to run. */
  details: z.object({
    /** amd64, arm64, or what uname says. */
    arch: z.string(),
    /** vmx, svm, or el2 on arm64; null where the CPU shows none. */
    cpuFlag: z.string().nullable(),
    /** The loaded kernel module; null where there is none. */
    module: z.string().nullable(),
    /** Whether the host is itself a virtual machine; null where that can't be told. */
    nested: z.boolean().nullable(),
    /** Major and minor number of /dev/kvm; null where there is no device. */
    device: z.string().nullable(),
    /** The kernel's release. */
    kernel: z.string(),
  }),
});

export type KvmReport = z.infer<typeof kvmReportSchema>;

/** @throws VisibleError where the output is no report (the host printed something else) */
export function parseKvmReport(stdout: string): KvmReport {
  return parseReport(kvmReportSchema, "KVM check", stdout);
}

/** The report as text for the user: what was found and, if that is to be fixed, what to type. */
export function explainKvm(report: KvmReport): string {
  if (report.ok)
    return report.guestsUnlikely ? `${report.message}\n  instead: ${report.remedy}` : report.message;
  return [
    `KVM can't be used on this host (${report.code}).`,
    report.message,
    `  fix, on the host: ${report.remedy}`,
    "  to skip the check: pulumi config set microsandbox:kvmCheck off",
  ].join("\n");
}

/**
 * The last line of a check script's output, checked. Lines before it are a login banner or the like.
 *
 * @throws VisibleError where it is no report
 */
export function parseReport<T>(schema: z.ZodType<T>, check: string, stdout: string): T {
  const line = stdout.trim().split("\n").pop() ?? "";
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    const answer = line === "" ? "nothing" : `"${line.slice(0, 200)}"`;
    throw new VisibleError(
      `The ${check} got ${answer} from the host; expected one line of JSON.\n` +
        "  The host needs a POSIX shell, and its login scripts must not print anything after a command's output.",
    );
  }
}
