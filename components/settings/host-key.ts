import { asText, settingMeta } from "./fields";

const KEY_LINE =
  /^(?:[^\s@]\S*\s+)?((?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)|sk-\S+@openssh\.com))\s+([A-Za-z0-9+/]+={0,2})(?:\s.*)?$/;

/** Public keys of an SSH server; each as `TYPE BASE64`, one a line. */
export const sshHostKey = asText
  .refine((text) => publicKeys(text) !== undefined)
  .transform((text) => publicKeys(text)?.join("\n") || undefined)
  .optional()
  .register(settingMeta, {
    description:
      "Public key of an `ssh://` host, or several, one a line; instead of `sshKnownHostsFile`. No other key is accepted.",
    accepts: "public keys (ssh-ed25519 AAAA…), or lines of known_hosts, whose names are ignored",
    example: `ssh-ed25519 ${wireFormat("ssh-ed25519", Buffer.alloc(32)).toString("base64")}`,
  });

/** The keys in a text of public keys or of known_hosts, without names and comments; undefined where a line is neither. */
function publicKeys(text: string): string[] | undefined {
  const lines = text.split("\n").map((line) => line.trim());
  const keys = lines.filter((line) => line !== "" && !line.startsWith("#")).map(publicKey);
  return keys.every((key) => key !== undefined) ? keys : undefined;
}

function publicKey(line: string): string | undefined {
  const [, type = "", base64 = ""] = KEY_LINE.exec(line) ?? [];
  return isComplete(type, Buffer.from(base64, "base64")) ? `${type} ${base64}` : undefined;
}

/** Whether a key says its own type, and ends where its last field does: a pasted one may have been cut off. */
function isComplete(type: string, key: Buffer): boolean {
  if (type === "" || !key.subarray(0, type.length + 4).equals(wireFormat(type))) return false;
  let end = 0;
  while (end + 4 <= key.length) end += 4 + key.readUInt32BE(end);
  return end === key.length && end > type.length + 4;
}

/** Fields as SSH writes them: each behind its length. */
function wireFormat(...fields: (string | Buffer)[]): Buffer {
  return Buffer.concat(
    fields.flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, Buffer.from(field)];
    }),
  );
}
