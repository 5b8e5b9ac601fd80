import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { NAMESPACE } from "../components/settings/schema";
import { projectRoot, stackName } from "../setup/project";
import { type Pulumi, saysNoStack } from "./pulumi";

/** The settings of a stack by their names, as Pulumi has them: text, or JSON as text. */
export interface Settings {
  values: Record<string, string | undefined>;
  /** Names of settings that are encrypted, wholly or in part, and must not be shown. */
  secret: string[];
}

type PulumiReader = Pick<Pulumi, "read">;

/**
 * Reads the settings of a stack through Pulumi, decrypted: from its file, the project and its ESC environments.
 *
 * @param file the stack's settings file, which is all there is of a stack that was never deployed
 */
export async function readSettings(stack: string, file: string, pulumi: PulumiReader): Promise<Settings> {
  const words = ["config", "--json", "--show-secrets", "--stack", stack];
  try {
    return parseSettings(await pulumi.read(words));
  } catch (error) {
    if (!saysNoStack(error)) throw error;
    return readUnmade(stack, file, pulumi);
  }
}

/** Pulumi reads settings of existing stacks only: a temporary stack is created in a copy of the project. */
async function readUnmade(stack: string, file: string, pulumi: PulumiReader): Promise<Settings> {
  const folder = mkdtempSync(join(tmpdir(), "microsandbox-settings-"));
  try {
    copyFileSync(join(projectRoot, "Pulumi.yaml"), join(folder, "Pulumi.yaml"));
    if (existsSync(file)) copyFileSync(file, join(folder, basename(file)));
    const name = stackName(stack);
    const there = { PULUMI_BACKEND_URL: pathToFileURL(folder).href };
    await pulumi.read(["stack", "init", "--no-select", name, "--cwd", folder], there);
    const words = ["config", "--json", "--show-secrets", "--stack", name, "--cwd", folder];
    return parseSettings(await pulumi.read(words, there));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param json what `pulumi config --json` prints */
export function parseSettings(json: string): Settings {
  const config: Record<string, { value?: string; secret: boolean }> = JSON.parse(json);
  const own = Object.entries(config).flatMap(([name, { value, secret }]) =>
    name.startsWith(`${NAMESPACE}:`) ? [{ name: name.slice(NAMESPACE.length + 1), value, secret }] : [],
  );
  return {
    values: Object.fromEntries(own.map(({ name, value }) => [name, value])),
    secret: own.filter(({ secret }) => secret).map(({ name }) => name),
  };
}
