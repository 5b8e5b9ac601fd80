import { randomBytes } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parse } from "yaml";
import { shellQuote } from "../components/settings/shell";
import { projectName, projectRoot, stackName } from "../setup/project";
import { UserError } from "../setup/user-error";

/** Folder of the state backend that is used where there is no other, and of its passphrase; git ignores it. */
export const stateFolder = join(projectRoot, ".pulumi-state");

/** Where Pulumi keeps the state, and what decided it. */
export interface Backend {
  /**
   * `environment`, `project` (Pulumi.yaml) and `login` are where plain pulumi looks too, in this order; `checkout` is the
   * folder of this checkout, which plain pulumi has to be shown.
   */
  source: "environment" | "project" | "login" | "checkout";
  url: string;
  /** In `checkout`: where plain pulumi would look instead. */
  otherwise?: string;
}

/**
 * Finds the backend: the one that plain pulumi would use; if none is configured, a folder in this checkout. A stack deployed
 * in that folder is still found there after a login elsewhere.
 *
 * @param stack the one that is asked for; without one, the folder is used while it has any
 */
export function findBackend(stack?: string, environment: NodeJS.ProcessEnv = process.env): Backend {
  const url = environment.PULUMI_BACKEND_URL;
  if (url) return { source: "environment", url };
  const said = projectBackend() ?? loginBackend(environment);
  const own = { source: "checkout", url: pathToFileURL(stateFolder).href } as const;
  if (said && !hasState(stack)) return said;
  return said ? { ...own, otherwise: said.url } : own;
}

/** Backends that may have the stack if none was named: also the checkout's folder, besides a login. */
export function findBackends(environment: NodeJS.ProcessEnv = process.env): Backend[] {
  const found = findBackend(undefined, environment);
  const said = found.otherwise ? (projectBackend() ?? loginBackend(environment)) : undefined;
  return said ? [said, found] : [found];
}

function projectBackend(): Backend | undefined {
  const file = join(projectRoot, "Pulumi.yaml");
  const url = existsSync(file) ? parse(readFileSync(file, "utf8"))?.backend?.url : undefined;
  return url ? { source: "project", url } : undefined;
}

/** Where `pulumi login` has been, by the file that it writes; a token alone means Pulumi Cloud. @throws UserError */
function loginBackend(environment: NodeJS.ProcessEnv): Backend | undefined {
  const home = environment.PULUMI_HOME || join(environment.HOME || homedir(), ".pulumi");
  const file = join(environment.PULUMI_CREDENTIALS_PATH || home, "credentials.json");
  try {
    const { current } = JSON.parse(readFileSync(file, "utf8"));
    if (current) return { source: "login", url: current };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Nobody has logged in. Of any other failure that is not known, and the checkout's folder has other stacks.
    if (code !== "ENOENT" && code !== "ENOTDIR")
      throw new UserError(
        `The file of \`pulumi login\`, which says where the state is, can't be read (${code ?? "it is not JSON"}): ${file}\n` +
          "Correct it with: pulumi login, or name the backend:  export PULUMI_BACKEND_URL=…",
      );
  }
  return environment.PULUMI_ACCESS_TOKEN ? { source: "login", url: "https://api.pulumi.com" } : undefined;
}

/** Whether the folder of the checkout has the state of a stack, or of any. */
function hasState(stack: string | undefined): boolean {
  const folder = join(stateFolder, ".pulumi/stacks", projectName());
  const name = stack && stackName(stack);
  if (!existsSync(folder)) return false;
  return readdirSync(folder).some((file) => {
    const [, found] = /^(.+)\.json(?:\.gz)?$/.exec(file) ?? [];
    return found !== undefined && (!name || found === name);
  });
}

/** The folder of a backend that is one of this machine; undefined for any other. */
export function backendFolder({ url }: Pick<Backend, "url">): string | undefined {
  const [, path] = /^file:\/\/([^?#]*)/.exec(url) ?? [];
  if (path === undefined) return undefined;
  const decoded = /%(?![0-9a-f]{2})/i.test(path) ? path : decodeURIComponent(path);
  return resolve(projectRoot, decoded.replace(/^~(?=\/|$)/, homedir()));
}

/**
 * Environment of pulumi: backend and passphrase. In the folder of the checkout a passphrase is generated on first use, in a
 * file (mode 0600); PULUMI_CONFIG_PASSPHRASE(_FILE) override it. Any other backend has the
 * passphrase that plain pulumi would use, or the file of this checkout where one was made before.
 *
 * @throws UserError where the folder can't be written
 */
export function backendEnvironment(
  environment: NodeJS.ProcessEnv = process.env,
  { source, url }: Backend = findBackend(undefined, environment),
): Record<string, string> {
  const chosen: Record<string, string> = {};
  if (source === "checkout") {
    chosen.PULUMI_BACKEND_URL = url;
    makeStateFolder();
  }
  const isGiven =
    environment.PULUMI_CONFIG_PASSPHRASE !== undefined || environment.PULUMI_CONFIG_PASSPHRASE_FILE;
  if (!isGiven && (source === "checkout" || existsSync(passphraseFile)))
    chosen.PULUMI_CONFIG_PASSPHRASE_FILE = makePassphrase();
  return chosen;
}

/**
 * Runs what only reads. Pulumi needs a backend and a passphrase even to read settings: where the checkout has none yet, they
 * are thrown away afterwards.
 *
 * @param stack the one that is asked for
 */
export async function readOnly<T>(stack: string | undefined, run: () => Promise<T>): Promise<T> {
  if (findBackend(stack).source !== "checkout" || existsSync(stateFolder)) return run();
  const folder = mkdtempSync(join(tmpdir(), "microsandbox-read-only-"));
  process.env.PULUMI_BACKEND_URL = pathToFileURL(folder).href;
  const isGiven = process.env.PULUMI_CONFIG_PASSPHRASE ?? process.env.PULUMI_CONFIG_PASSPHRASE_FILE;
  if (isGiven === undefined) process.env.PULUMI_CONFIG_PASSPHRASE = "";
  try {
    return await run();
  } finally {
    delete process.env.PULUMI_BACKEND_URL;
    if (isGiven === undefined) delete process.env.PULUMI_CONFIG_PASSPHRASE;
    rmSync(folder, { recursive: true, force: true });
  }
}

/** How plain pulumi sees the same stacks, in one line; undefined where it does already. */
export function plainPulumi({ source, url, otherwise }: Backend): string | undefined {
  if (source !== "checkout") return undefined;
  const why = otherwise ? `, as it was deployed there before the login to ${otherwise}` : "";
  return (
    `The state is in ${stateFolder}${why}. Plain pulumi sees it with:  ` +
    `export PULUMI_BACKEND_URL=${shellQuote(url)} PULUMI_CONFIG_PASSPHRASE_FILE=${shellQuote(passphraseFile)}`
  );
}

/** The passphrase of the stacks of this checkout's folder. */
export const passphraseFile = join(stateFolder, "passphrase");

function makeStateFolder(): void {
  try {
    mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      `This checkout can't be written (${code}), but Pulumi's state would be stored in ${stateFolder}.\n` +
        "To keep it elsewhere: pulumi login, or  export PULUMI_BACKEND_URL=file://$HOME/microsandbox-state PULUMI_CONFIG_PASSPHRASE=…",
    );
  }
}

function makePassphrase(): string {
  if (existsSync(passphraseFile)) return passphraseFile;
  const own = `${passphraseFile}.${process.pid}`;
  writeFileSync(own, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600 });
  try {
    // Two runs at once: one creates the file atomically, the other reads it.
    linkSync(own, passphraseFile);
  } catch (error) {
    if (!existsSync(passphraseFile)) throw error;
  } finally {
    rmSync(own);
  }
  return passphraseFile;
}
