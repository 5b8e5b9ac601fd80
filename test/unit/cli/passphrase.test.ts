import { createCipheriv, pbkdf2Sync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { opens, wrongPassphrase } from "../../../cli/passphrase";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-passphrase-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const ownFile = file("own", "own\n");
const givenFile = file("given", "given\n");

/** As Pulumi writes it. */
function saltOf(passphrase: string): string {
  const [salt, nonce] = [randomBytes(8), randomBytes(12)];
  const cipher = createCipheriv("aes-256-gcm", pbkdf2Sync(passphrase, salt, 1_000_000, 32, "sha256"), nonce);
  const text = Buffer.concat([cipher.update("pulumi"), cipher.final(), cipher.getAuthTag()]);
  return `v1:${salt.toString("base64")}:v1:${nonce.toString("base64")}:${text.toString("base64")}`;
}

it("knows the passphrase of a salt that pulumi made, and no other", () => {
  const salt = "v1:psjvntjkOJw=:v1:ZbX/O0pSoE8LRJSu:eXYELyACb6SrkjS+bFjs9hGNdiD8Mg==";
  expect([opens(salt, "x"), opens(salt, "y"), opens("", "x"), opens("v1:a:v1:b:c", "x")]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});

it("has nothing to say where the right one is used, or none is asked for", () => {
  expect(wrongPassphrase("dev", saltOf("given"), { PULUMI_CONFIG_PASSPHRASE_FILE: givenFile }, ownFile)).toBe(
    undefined,
  );
  expect(wrongPassphrase("dev", "", { PULUMI_CONFIG_PASSPHRASE: "x" }, ownFile)).toBe(undefined);
});

it.each<[string, string, NodeJS.ProcessEnv, RegExp]>([
  [
    "the file of the checkout, where a variable is set",
    "own",
    { PULUMI_CONFIG_PASSPHRASE: "x" },
    /PULUMI_CONFIG_PASSPHRASE is not the passphrase[\s\S]*That is the text of .*own\. To use it: unset PULUMI_CONFIG_PASSPHRASE$/,
  ],
  [
    "the file of the checkout, where the empty passphrase is set, and a file",
    "own",
    { PULUMI_CONFIG_PASSPHRASE: "", PULUMI_CONFIG_PASSPHRASE_FILE: givenFile },
    /unset PULUMI_CONFIG_PASSPHRASE PULUMI_CONFIG_PASSPHRASE_FILE$/,
  ],
  [
    "the file that a variable names",
    "given",
    { PULUMI_CONFIG_PASSPHRASE: "x", PULUMI_CONFIG_PASSPHRASE_FILE: givenFile },
    /That is the text of PULUMI_CONFIG_PASSPHRASE_FILE \(.*given\)\. To use it: unset PULUMI_CONFIG_PASSPHRASE$/,
  ],
  [
    "a variable of another shell",
    "other",
    {},
    /own is not the passphrase[\s\S]*export PULUMI_CONFIG_PASSPHRASE=…/,
  ],
])("says which passphrase a stack was made with: %s", (_what, passphrase, environment, expected) => {
  expect(wrongPassphrase("dev", saltOf(passphrase), environment, ownFile)).toMatch(expected);
});
