import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Where an administrator puts authorities that this machine is to trust: on Debian, Fedora and Arch. */
const folders = [
  "/usr/local/share/ca-certificates",
  "/etc/pki/ca-trust/source/anchors",
  "/etc/ca-certificates/trust-source/anchors",
];

/** File of the build context that holds them, for the downloads of the build; git ignores it. */
export const certificatesFile = "build/deployer-ca.pem";

/**
 * Puts the authorities that this machine trusts besides the usual ones (a company's proxy) into a build context. The
 * build's inputs do not mention them: on a machine with others it is the same build, and makes the same image.
 *
 * @throws what writing the file throws; nothing is written where it is up to date
 */
export function giveCertificates(context: string, from: readonly string[] = folders): void {
  giveFile(join(context, certificatesFile), from.flatMap(certificatesIn).join("\n"));
}

/**
 * Writes a file of a build context that is of this machine alone, or removes it where there is nothing to say.
 *
 * @throws what writing the file throws; nothing is written where it is up to date
 */
export function giveFile(file: string, found: string): void {
  const before = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (found === before) return;
  if (found === "") {
    rmSync(file);
    return;
  }
  // Under a name that the context leaves out: another run may read it meanwhile.
  const own = join(dirname(file), `.${basename(file)}.${process.pid}`);
  writeFileSync(own, found);
  renameSync(own, file);
}

function certificatesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => /\.(crt|pem|cer)$/.test(entry.name) && !entry.isDirectory())
    .map(({ name }) => join(folder, name))
    .sort()
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, "utf8"))
    .filter((text) => text.includes("-----BEGIN CERTIFICATE-----"));
}
