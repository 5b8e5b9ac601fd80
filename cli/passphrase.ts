import { createDecipheriv, pbkdf2Sync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { passphraseFile } from "./backend";

/** Where a passphrase may come from, in the order in which pulumi looks. */
interface Source {
  name: string;
  /** What to type so that pulumi takes the next one. */
  without: string;
  passphrase: string | undefined;
}

/**
 * Why pulumi says "incorrect passphrase": which of the sources is used, and which one the stack was made with.
 *
 * @param salt `encryptionsalt` of the stack's settings file
 */
export function explainPassphrase(
  stack: string,
  salt: string,
  environment: NodeJS.ProcessEnv = process.env,
  ownFile = passphraseFile,
): string {
  const sources = sourcesOf(environment, ownFile).filter(({ passphrase }) => passphrase !== undefined);
  const [used] = sources;
  const right = sources.find(({ passphrase }) => opens(salt, passphrase ?? ""));
  const head = used
    ? `The secrets of stack ${stack} can't be read: ${used.name} is not the passphrase they were encrypted with.`
    : `The secrets of stack ${stack} can't be read: no passphrase is set.`;
  if (right && right !== used) {
    const before = sources.slice(0, sources.indexOf(right)).map(({ without }) => without);
    return `${head}\nThat is ${right.name}. To use it: unset ${before.join(" ")}`;
  }
  return (
    `${head}\nSet the one with which the stack was made, on this machine or another: ` +
    "export PULUMI_CONFIG_PASSPHRASE=…   (or PULUMI_CONFIG_PASSPHRASE_FILE=…)"
  );
}

/** What {@link explainPassphrase} says where the passphrase that pulumi takes is wrong; undefined where it is right. */
export function wrongPassphrase(
  stack: string,
  salt: string,
  environment: NodeJS.ProcessEnv = process.env,
  ownFile = passphraseFile,
): string | undefined {
  const [used] = sourcesOf(environment, ownFile).filter(({ passphrase }) => passphrase !== undefined);
  if (!salt || (used && opens(salt, used.passphrase ?? ""))) return undefined;
  return explainPassphrase(stack, salt, environment, ownFile);
}

function sourcesOf(environment: NodeJS.ProcessEnv, ownFile: string): Source[] {
  const { PULUMI_CONFIG_PASSPHRASE: direct, PULUMI_CONFIG_PASSPHRASE_FILE: file } = environment;
  return [
    { name: "PULUMI_CONFIG_PASSPHRASE", without: "PULUMI_CONFIG_PASSPHRASE", passphrase: direct },
    {
      name: `the text of PULUMI_CONFIG_PASSPHRASE_FILE (${file})`,
      without: "PULUMI_CONFIG_PASSPHRASE_FILE",
      passphrase: file ? textOf(file) : undefined,
    },
    { name: `the text of ${ownFile}`, without: "", passphrase: textOf(ownFile) },
  ];
}

const textOf = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").trim() : undefined);

/** Whether a passphrase is that of a salt. Pulumi encrypts the word `pulumi` with each: PBKDF2, then AES-256-GCM. */
export function opens(salt: string, passphrase: string): boolean {
  const [version, saltText = "", cipher, nonce = "", text = ""] = salt.split(":");
  if (version !== "v1" || cipher !== "v1") return false;
  const bytes = (base64: string) => Buffer.from(base64, "base64");
  try {
    const key = pbkdf2Sync(passphrase, bytes(saltText), 1_000_000, 32, "sha256");
    const decipher = createDecipheriv("aes-256-gcm", key, bytes(nonce));
    decipher.setAuthTag(bytes(text).subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes(text).subarray(0, -16)), decipher.final()]);
    return plain.toString() === "pulumi";
  } catch {
    return false;
  }
}
