import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Folders for additional CA certificates: on Debian, Fedora and Arch. */
const folders = [
  "/usr/local/share/ca-certificates",
  "/etc/pki/ca-trust/source/anchors",
  "/etc/ca-certificates/trust-source/anchors",
];

/** File of the build context that holds them, for the downloads of the build; git ignores it. */
export const certificatesFile = "build/deployer-ca.pem";

/**
 * Copies this machine's additional CA certificates (of a company's proxy) into a build context. They are no input of the
 * build: a machine with other certificates builds the same image.
 *
 * @throws what writing the file throws; nothing is written where it is up to date
 */
export function giveCertificates(context: string, from: readonly string[] = folders): void {
  giveFile(join(context, certificatesFile), from.flatMap(certificatesIn).join("\n"));
}

/**
 * Writes a machine-specific file of a build context, or removes it if there is no content. Only its user can read it: a proxy
 * may have a password.
 *
 * @throws what writing the file throws; nothing is written where it is up to date
 */
export function giveFile(file: string, found: string): void {
  const before = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (found === before && (found === "" || (statSync(file).mode & 0o077) === 0)) return;
  if (found === "") {
    rmSync(file);
    return;
  }
  // Under a name that the context leaves out: another run may read it meanwhile.
  const own = join(dirname(file), `.${basename(file)}.${process.pid}`);
  writeFileSync(own, found, { mode: 0o600 });
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
