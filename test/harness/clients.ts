import { homedir } from "node:os";
import { join } from "node:path";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { makeEntry } from "../../setup/tools/cache";
import { UserError } from "../../setup/user-error";

/** The per-user folder of the official clients: `${XDG_CACHE_HOME:-~/.cache}/microsandbox-stack/test-clients`. */
export const clientsCache = () =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "microsandbox-stack", "test-clients");

/** A wheel of the Python package, unpacked: the SDK and, beside it, the msb of the same version. */
export interface PythonClient {
  /** An interpreter that it runs under. */
  python: string;
  /** What PYTHONPATH has to name. */
  packages: string;
  msb: string;
}

/**
 * The Python package `microsandbox` at a version, installed once with pip into the per-user cache.
 * @throws UserError if there is no Python of 3.10 or newer, no pip, or the msb in it does not run here
 */
export async function pythonClient(version: string): Promise<PythonClient> {
  const python = await findPython();
  const folder = await install(`python-${version}`, async (into) => {
    const pip = await findPip(python, into);
    const wanted = ["install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"];
    await run(pip, ["-m", "pip", ...wanted, "--target", join(into, "packages"), `microsandbox==${version}`]);
    await checkMsb(join(into, "packages"));
  });
  const packages = join(folder, "packages");
  return { python, packages, msb: msbIn(packages) };
}

/**
 * The npm package `microsandbox` at a version, installed once into the per-user cache.
 * @returns the folder with its node_modules
 */
export function npmClient(version: string): Promise<string> {
  return install(`npm-${version}`, async (into) => {
    const libc = process.platform === "linux" ? "-gnu" : "";
    const native = `@superradcompany/microsandbox-${process.platform}-${process.arch}${libc}`;
    // The package with the native addon is named, and forced, since npm leaves it out under Node 20: its `engines`
    // ask for a newer one, although it runs.
    const packages = [`microsandbox@${version}`, `${native}@${version}`];
    await run("npm", ["install", "--prefix", into, "--force", "--no-audit", "--no-fund", ...packages]);
  });
}

function install(entry: string, make: (into: string) => Promise<void>): Promise<string> {
  const report = createReporter();
  return makeEntry(clientsCache(), entry, report, (into) =>
    report.step(`Installing the official client ${entry} into ${clientsCache()}`, () => make(into)),
  );
}

/** @throws UserError naming what to install */
async function findPython(): Promise<string> {
  const isNewEnough = "import sys; sys.exit(sys.version_info < (3, 10))";
  for (const python of ["python3", "python3.13", "python3.12", "python3.11", "python3.10"]) {
    const { exitCode } = await exec(python, ["-c", isNewEnough], { reject: false });
    if (exitCode === 0) return python;
  }
  throw new UserError(
    "The tests of the Python SDK and the msb CLI need Python 3.10 or newer; none was found on PATH.\nInstall one: apt-get install python3 python3-pip",
  );
}

/** An interpreter that has pip: the one given, or that of a throw-away virtual environment. */
async function findPip(python: string, scratch: string): Promise<string> {
  const { exitCode } = await exec(python, ["-m", "pip", "--version"], { reject: false });
  if (exitCode === 0) return python;
  const venv = join(scratch, "pip");
  const made = await exec(python, ["-m", "venv", venv], { reject: false });
  if (made.exitCode === 0) return join(venv, "bin", "python");
  throw new UserError(
    `${python} has neither pip nor venv, one of which the official clients are installed with.\nInstall one: apt-get install python3-pip`,
  );
}

const msbIn = (packages: string) => join(packages, "microsandbox", "_bundled", "bin", "msb");

async function checkMsb(packages: string): Promise<void> {
  const { exitCode, all } = await exec(msbIn(packages), ["--version"], { all: true, reject: false });
  if (exitCode === 0) return;
  throw new UserError(
    `The msb of the official package does not run on this machine: ${all?.trim()}\nIt needs glibc 2.28 or newer and libcap-ng: apt-get install libcap-ng0`,
  );
}

async function run(program: string, args: string[]): Promise<void> {
  const { exitCode, all } = await exec(program, args, { all: true, reject: false, stdin: "ignore" });
  if (exitCode !== 0) throw new UserError(`${program} ${args.join(" ")} failed:\n${all}`);
}
