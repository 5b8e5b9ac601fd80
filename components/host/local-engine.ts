import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { VisibleError } from "../settings/visible-error";

/** Where an engine listens that nobody has chosen another one for. */
export const DEFAULT_ENGINE = "unix:///var/run/docker.sock";

/**
 * Address of the engine that the docker client of this machine talks to: of DOCKER_HOST, else of the context that
 * DOCKER_CONTEXT names, else of the one that `docker context use` has chosen. The Docker provider knows the first two
 * alone, and would use another engine than the client.
 *
 * @throws VisibleError where the context does not exist
 */
export function localEngine(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.DOCKER_HOST) return environment.DOCKER_HOST;
  const folder = environment.DOCKER_CONFIG || join(environment.HOME || homedir(), ".docker");
  const context = environment.DOCKER_CONTEXT || currentContext(folder);
  if (!context || context === "default") return DEFAULT_ENGINE;
  const id = createHash("sha256").update(context).digest("hex");
  const host = json(join(folder, "contexts", "meta", id, "meta.json"))?.Endpoints?.docker?.Host;
  if (host) return host;
  throw new VisibleError(
    `The Docker context ${context} does not exist or has no address.\n  to list the contexts: docker context ls\n` +
      "  to use this machine's own engine: unset DOCKER_CONTEXT; docker context use default",
  );
}

const currentContext = (folder: string) => json(join(folder, "config.json"))?.currentContext;

interface ClientFile {
  currentContext?: string;
  Endpoints?: { docker?: { Host?: string } };
}

/** A file of the docker client's; undefined where it is not there or not readable, as the client takes it. */
function json(file: string): ClientFile | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}
