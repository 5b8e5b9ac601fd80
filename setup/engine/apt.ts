/** Debian packages: which are missing, and installing those after saying so. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Reporter } from "../report";
import { UserError } from "../user-error";
import { runCommand } from "./run-command";

/** True where this process may install packages: root on Debian, Ubuntu or a relative of them. */
export async function canInstallPackages(): Promise<boolean> {
  return process.getuid?.() === 0 && existsSync("/usr/bin/apt-get") && (await isDebianLike());
}

async function isDebianLike(): Promise<boolean> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
}

/** The packages of `wanted` that are not installed. Where there is no dpkg, all of them. */
export async function missingPackages(wanted: readonly string[]): Promise<string[]> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = "--showformat=${Package} ${db:Status-Status}\\n";
  const query = await runCommand("dpkg-query", ["--show", format, ...wanted]);
  const installed = query.stdout
    .split("\n")
    .filter((line) => line.endsWith(" installed"))
    .map((line) => line.split(" ")[0]);
  return wanted.filter((name) => !installed.includes(name));
}

/**
 * Installs what is missing of `wanted`, without recommended packages, and says so first.
 *
 * @param purpose ends the sentence "Installing … for": "the Docker engine".
 * @throws UserError where this process may not install packages, or apt-get fails.
 */
export async function ensurePackages(report: Reporter, wanted: readonly string[], purpose: string) {
  const missing = await missingPackages(wanted);
  if (missing.length === 0) return;
  const command = `apt-get install --no-install-recommends ${missing.join(" ")}`;
  if (!(await canInstallPackages())) {
    const how = (await isDebianLike())
      ? `Run this, then the same command again:\n  sudo ${command}`
      : `Install these packages (names may differ on your system), then run the same command again: ${missing.join(", ")}`;
    throw new UserError(`${missing.join(", ")} missing, needed for ${purpose}.\n${how}`);
  }
  report.say(`Installing Debian packages for ${purpose}: ${missing.join(", ")}`);
  await updateOnce(report);
  await report.step(`Install ${missing.join(", ")}`, () =>
    aptGet(["install", "--yes", "--no-install-recommends", ...missing], command),
  );
}

let updated: Promise<void> | undefined;

/** Refreshes the package lists, once in the life of this process. */
function updateOnce(report: Reporter): Promise<void> {
  updated ??= report.step("Refresh the package lists", () =>
    // A third-party source that is down must not stop the set-up: the installation shows what is missing.
    aptGet(["update"], "apt-get update").catch((error: unknown) => report.say(`  ${String(error)}`)),
  );
  return updated;
}

async function aptGet(args: string[], shown: string): Promise<void> {
  const result = await runCommand("apt-get", ["-o", "DPkg::Lock::Timeout=300", ...args], {
    env: { DEBIAN_FRONTEND: "noninteractive" },
  });
  if (!result.ok)
    throw new UserError(`"${shown}" failed (${result.trouble ?? result.code}):
${result.tail}`);
}
