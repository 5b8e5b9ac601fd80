import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseSettings } from "../../../../components/settings/parse-settings";

/** A new host key of a type, as its .pub file has it: type, base64 and comment. */
function newKey(...type: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "host-key-"));
  execFileSync("ssh-keygen", ["-q", ...type, "-N", "", "-C", 'a "comment" %h', "-f", join(folder, "key")]);
  const text = readFileSync(join(folder, "key.pub"), "utf8").trim();
  rmSync(folder, { recursive: true });
  return text;
}

const read = (sshHostKey: string) => parseSettings({ sshHostKey }).sshHostKey;
const keys = [newKey("-t", "ed25519"), newKey("-t", "rsa"), newKey("-t", "ecdsa", "-b", "384")];
const bare = keys.map((key) => key.split(" ").slice(0, 2).join(" "));

it("is a public key of each type, or several, with names and comments as ssh-keyscan prints them", () => {
  for (const [index, key] of keys.entries()) expect(read(key)).toBe(bare[index]);
  const scanned = `# vm:22 SSH-2.0\n${keys.map((key) => `|1|a=|b= ${key}`).join("\r\n")}\n\n`;
  expect(read(scanned)).toBe(bare.join("\n"));
  expect(read(bare.join("\n"))).toBe(bare.join("\n"));
  expect(read("")).toBeUndefined();
});

it("is not a key that was cut off, of another type than it says, an authority's, or a private one", () => {
  const [key = ""] = bare;
  const wrong = [
    key.slice(0, -8),
    key.replace("ssh-ed25519", "ssh-rsa"),
    `@cert-authority * ${key}`,
    `${key}\nnonsense`,
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "SHA256:nBQHtJd+rzjsk5JEYsy0sNQorDdkDWG7sjwqYwyvkBk",
  ];
  for (const each of wrong) expect(() => read(each), each).toThrow("microsandbox:sshHostKey");
});

it("is not set beside a known_hosts file", () => {
  const settings = { sshHostKey: bare[0] ?? "", sshKnownHostsFile: "/kh" };
  expect(() => parseSettings(settings)).toThrow(/sshHostKey is set, and sshKnownHostsFile too/);
});
