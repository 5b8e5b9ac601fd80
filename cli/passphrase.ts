import { existsSync } from "node:fs";
import { passphraseFile } from "./backend";

/** Where a passphrase may come from, in the order in which pulumi looks. */
interface Source {
  name: string;
  /** The variable to unset so that pulumi takes the next one. */
  variable: string;
  isThere: boolean;
}

/**
 * What to do where pulumi can't read the secrets of a stack: its own message, where the passphrase came from, and how to
 * use another one that is there.
 *
 * @param said what pulumi printed
 */
export function explainPassphrase(
  stack: string,
  said: string,
  environment: NodeJS.ProcessEnv = process.env,
  ownFile = passphraseFile,
): string {
  const [used, ...others] = sourcesOf(environment, ownFile).filter(({ isThere }) => isThere);
  const message = /^\s*error: (.*passphrase.*)$/m.exec(said)?.[1] ?? said.trim();
  const before = used ? [used.variable] : [];
  const ways = others.map(({ name, variable }) => {
    const line = `To use ${name}: unset ${before.join(" ")}`;
    before.push(variable);
    return line;
  });
  return [
    `The secrets of stack ${stack} can't be read. Pulumi says: ${message}`,
    used ? `The passphrase came from ${used.name}.` : "No passphrase is set.",
    ...ways,
    "Set the one with which the stack was made, on this machine or another: " +
      "export PULUMI_CONFIG_PASSPHRASE=…   (or PULUMI_CONFIG_PASSPHRASE_FILE=…)",
  ].join("\n");
}

function sourcesOf(environment: NodeJS.ProcessEnv, ownFile: string): Source[] {
  const { PULUMI_CONFIG_PASSPHRASE: direct, PULUMI_CONFIG_PASSPHRASE_FILE: file } = environment;
  return [
    {
      name: "PULUMI_CONFIG_PASSPHRASE",
      variable: "PULUMI_CONFIG_PASSPHRASE",
      isThere: direct !== undefined,
    },
    {
      name: `the file in PULUMI_CONFIG_PASSPHRASE_FILE (${file})`,
      variable: "PULUMI_CONFIG_PASSPHRASE_FILE",
      isThere: Boolean(file),
    },
    { name: `the file ${ownFile}`, variable: "", isThere: existsSync(ownFile) },
  ];
}
