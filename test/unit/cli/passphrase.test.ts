import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { explainPassphrase } from "../../../cli/passphrase";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-passphrase-"));
afterAll(() => rmSync(folder, { recursive: true }));
const own = join(folder, "own");
writeFileSync(own, "own\n");
const none = join(folder, "none");
const said = "Diagnostics:\nerror: incorrect passphrase\n";
const other = /export PULUMI_CONFIG_PASSPHRASE=/;

it.each<[string, NodeJS.ProcessEnv, string, RegExp]>([
  [
    "a variable, before the file of the checkout",
    { PULUMI_CONFIG_PASSPHRASE: "" },
    own,
    /came from PULUMI_CONFIG_PASSPHRASE\.\nTo use the file \S+own: unset PULUMI_CONFIG_PASSPHRASE\nSet/,
  ],
  [
    "a variable, before the file of another",
    { PULUMI_CONFIG_PASSPHRASE: "x", PULUMI_CONFIG_PASSPHRASE_FILE: "/f" },
    own,
    /came from PULUMI_CONFIG_PASSPHRASE\.\nTo use the file in PULUMI_CONFIG_PASSPHRASE_FILE \(\/f\): unset PULUMI_CONFIG_PASSPHRASE\nTo use the file \S+own: unset PULUMI_CONFIG_PASSPHRASE PULUMI_CONFIG_PASSPHRASE_FILE\nSet/,
  ],
  [
    "a file that a variable names",
    { PULUMI_CONFIG_PASSPHRASE_FILE: "/f" },
    none,
    /came from the file in PULUMI_CONFIG_PASSPHRASE_FILE \(\/f\)\.\nSet/,
  ],
  ["the file of the checkout", {}, own, /came from the file \S+own\.\nSet/],
  ["nowhere", {}, none, /No passphrase is set\.\nSet/],
])("says what pulumi says and where the passphrase came from: %s", (_name, environment, file, expected) => {
  const text = explainPassphrase("dev", said, environment, file);
  expect(text).toMatch(/^The secrets of stack dev can't be read\. Pulumi says: incorrect passphrase\n/);
  expect(text).toMatch(expected);
  expect(text).toMatch(other);
});
