// Entry of every npm script: installs the pinned npm packages where they are missing or incomplete, then hands over to
// cli/main.ts. Plain JavaScript without dependencies, since on a fresh clone there are none.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Ends with what is wrong and what to type. */
function refuse(message) {
  console.error(message);
  process.exit(1);
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19))
  refuse(
    `Node.js 20.19 or newer is needed, this is ${process.versions.node}. Install it, then run the command again.`,
  );
if (root.includes("?"))
  refuse(
    `A checkout can't be in a folder whose path has a "?": ${root}\nNode's loaders take what follows for a query. Rename or move it.`,
  );

/** The packages that a lockfile asks for on this machine and that are not there in that version. */
function lacking(folder) {
  const { packages } = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  const fits = (list, mine) => !list || list.includes(mine);
  return Object.entries(packages).flatMap(([path, { version, os, cpu, libc, optional, link }]) => {
    const wanted = path !== "" && fits(os, process.platform) && fits(cpu, process.arch);
    // npm alone finds out which C library it is, and goes on where an optional package can't be built.
    if (!wanted || (optional && (libc || !cpu))) return [];
    try {
      const there = JSON.parse(readFileSync(join(folder, path, "package.json"), "utf8"));
      // A folder of the checkout, which has its version in the entry of its own.
      return link || there.version === version ? [] : [path];
    } catch {
      return [path];
    }
  });
}

/** Runs npm in a folder to its end, and says now and then that it is still at work. */
function runNpm(folder, words) {
  const began = Date.now();
  const beat = setInterval(
    () => console.error(`  … ${Math.round((Date.now() - began) / 1000)} s: npm ${words[0]}`),
    15_000,
  );
  // Standard output is for what the command itself prints.
  const npm = spawn("npm", words, { cwd: folder, stdio: ["ignore", 2, "inherit"] });
  return new Promise((resolve) => {
    npm.once("error", (error) => resolve({ error })).once("close", (status) => resolve({ status }));
  }).finally(() => clearInterval(beat));
}

/**
 * Installs the packages of a folder unless all of its lockfile are there: with those for development, which the scripts
 * run on, and the optional ones, which hold esbuild's program, whatever npm's configuration leaves out by default.
 */
async function installPackages(folder) {
  const modules = join(folder, "node_modules");
  const stamp = join(modules, ".installed");
  const read = (file) => (existsSync(file) ? readFileSync(file, "utf8") : "");
  // npm notes in the second file what it has installed: a later `npm install --omit=dev` changes it.
  const sums = ["package-lock.json", "node_modules/.package-lock.json"].map((file) =>
    read(join(folder, file)),
  );
  const state = () => createHash("sha256").update(sums.join("\0")).digest("hex");
  if (read(stamp) === state()) return;
  const installs = lacking(folder).length > 0;
  if (installs) {
    // Another checkout's packages: npm would empty that folder first.
    if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink())
      return console.error(
        `${modules} is a link, and lacks packages of package-lock.json: it is left as it is.`,
      );
    const why = existsSync(modules) ? "The npm packages have changed" : "First run";
    console.error(
      `• ${why}: installing what package-lock.json names into ${modules} ` +
        "(about 20 s; some minutes on a slow machine or network) …",
    );
    const flags = [
      "ci",
      "--include=dev",
      "--include=optional",
      // Those of Pulumi's packages would fetch plugins for a pulumi on PATH, needed or not; the set-up gets what is.
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
    ];
    const { status, error } = await runNpm(folder, flags);
    if (error) refuse(`npm can't be run (${error.code}). It comes with Node.js: is it on the PATH?`);
    const still = status === 0 ? lacking(folder) : [];
    if (status !== 0)
      refuse(`npm ci failed in ${folder}. Is the npm registry reachable? Then run the command again.`);
    if (still.length > 0)
      refuse(
        `npm ci has left packages out in ${folder}: ${still.slice(0, 5).join(", ")}.\n` +
          "What leaves them out: npm config list   (omit, os, cpu). Then run the command again.",
      );
    sums[1] = read(join(modules, ".package-lock.json"));
  }
  try {
    writeFileSync(stamp, state());
  } catch {
    // A checkout that can't be written is looked at each time.
  }
}

// pnpm hands the `--` over that npm takes away.
const [command, ...rest] = process.argv.slice(2);
const args = rest[0] === "--" ? rest.slice(1) : rest;
await installPackages(root);
// A file is a program of those who work on this project: it may need what the gateway is made of. Words are commands.
const isFile = command?.endsWith(".ts");
if (isFile) await installPackages(join(root, "docker", "gateway"));

const program = isFile ? [join(root, command), ...args] : [join(root, "cli", "main.ts"), command, ...args];
const cli = ["--import", import.meta.resolve("tsx"), ...program];
const child = spawn(process.execPath, cli, { stdio: "inherit" });
// A terminal sends Ctrl+C to the child, too. Whoever else asks this process to end, like a service manager or a CI runner,
// may signal it alone. It waits for the child, which ends by itself after its clean-up.
const hasTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => {
    if (signal !== "SIGINT" || !hasTerminal) child.kill(signal);
  });
child.once("error", (error) =>
  refuse(
    `The command could not be started: ${error.message}. Nothing was done.\n` +
      "Is this machine out of memory or of processes? Then run the command again.",
  ),
);
// Ended by a signal, it has no status.
child.once("exit", (status) => process.exit(status ?? 1));
