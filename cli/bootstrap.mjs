// Entry of every npm script: installs the pinned npm packages where they are missing or outdated, then hands over
// to cli/main.ts. Plain JavaScript without dependencies, since on a fresh clone there are none.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `Node.js 20.19 or newer is needed, this is ${process.versions.node}. Install it, then run the command again.`,
  );
  process.exit(1);
}

/** Installs the packages of a folder unless those of its lockfile are there. */
function installPackages(folder) {
  // Another checkout's packages: npm would empty that folder first.
  if (lstatSync(join(folder, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) return;
  const lock = createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
  const stamp = join(folder, "node_modules", ".installed-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  console.error(`• Installing the npm packages of ${folder} (about 20 s the first time) …`);
  const flags = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const { status } = spawnSync("npm", flags, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) {
    console.error(`npm ci failed in ${folder}. Is the npm registry reachable? Then run the command again.`);
    process.exit(1);
  }
  writeFileSync(stamp, lock);
}

const [command, ...args] = process.argv.slice(2);
installPackages(root);
// A file is a program of those who work on this project: it may need what the gateway is made of. Words are commands.
const isFile = command?.endsWith(".ts");
if (isFile) installPackages(join(root, "docker", "gateway"));

const program = isFile ? [join(root, command), ...args] : [join(root, "cli", "main.ts"), command, ...args];
const cli = ["--import", import.meta.resolve("tsx"), ...program];
// An interrupt reaches the child too, being in the same process group: wait for it to end by itself.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});
const { status, signal } = spawnSync(process.execPath, cli, { stdio: "inherit" });
process.exit(status ?? (signal ? 1 : 0));
