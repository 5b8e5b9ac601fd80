import { randomBytes } from "node:crypto";
import { existsSync, linkSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../setup/project";

/** Folder of the default state backend and its passphrase; git ignores it. */
export const stateFolder = join(projectRoot, ".pulumi-state");

/**
 * Where Pulumi keeps its state and how it encrypts secrets: a file backend inside the checkout and a passphrase
 * file (mode 0600) made on first use. PULUMI_BACKEND_URL and PULUMI_CONFIG_PASSPHRASE(_FILE) override them.
 */
export function backendEnvironment(environment: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const chosen: Record<string, string> = {};
  if (!environment.PULUMI_BACKEND_URL) {
    mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
    chosen.PULUMI_BACKEND_URL = `file://${stateFolder}`;
  }
  if (environment.PULUMI_CONFIG_PASSPHRASE === undefined && !environment.PULUMI_CONFIG_PASSPHRASE_FILE) {
    chosen.PULUMI_CONFIG_PASSPHRASE_FILE = passphraseFile();
  }
  return chosen;
}

function passphraseFile(): string {
  const file = join(stateFolder, "passphrase");
  if (existsSync(file)) return file;
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  const own = `${file}.${process.pid}`;
  writeFileSync(own, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600 });
  try {
    // Of two runs at once one makes it, whole; the other takes that one.
    linkSync(own, file);
  } catch (error) {
    if (!existsSync(file)) throw error;
  } finally {
    rmSync(own);
  }
  return file;
}
