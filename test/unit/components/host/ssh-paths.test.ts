import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { hostArgv, hostShell, parseSshHost } from "../../../../components/host/connection";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { shellQuote } from "../../../../components/settings/shell";

/** Number 1 of the public reports: any path that a user may have reaches ssh as it is. */

const folder = mkdtempSync(join(tmpdir(), "ssh paths 100%h it's #1, "));
afterAll(() => rmSync(folder, { recursive: true }));

/** Absolute paths of what users and systems put into names; no `${`, which the settings refuse. */
const path = fc
  .array(
    fc.oneof(
      fc
        .string({ unit: "grapheme", minLength: 1, maxLength: 6 })
        .map((text) => text.replace(/[\p{C}/$]/gu, "_")),
      fc.constantFrom(
        "Jane Doe",
        "100%",
        "%h",
        "%%d",
        "c#",
        "it's",
        "a\\b",
        "a\\\\",
        "$HOME",
        "übung",
        "-x",
        "=",
      ),
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((names) => `/${names.join("/")}`)
  .filter((text) => !/\/\.{1,2}(\/|$)/.test(text));

/** What ssh takes a command line of ours for: the options of `ssh -G`, each with its values. */
function understood(commandLine: string): Map<string, string> {
  const printed = execFileSync("sh", ["-c", `ssh() { command ssh -G "$@"; }\n${commandLine}`], {
    encoding: "utf8",
    // A variable in a path would show.
    env: { ...process.env, HOME: "/nowhere" },
  });
  return new Map(
    printed.split("\n").map((line) => [line.split(" ")[0] ?? "", line.slice(line.indexOf(" ") + 1)]),
  );
}

describe("1: a key file and a known hosts file reach ssh whatever their paths are", () => {
  it("by our command lines, as `ssh -G` reads them", () => {
    fc.assert(
      fc.property(path, path, (identityFile, knownHostsFile) => {
        const connection = parseSshHost("ssh://me@host.test", { identityFile, knownHostsFile });
        const options = understood(hostShell(connection));
        // `ssh -G` prints this one before %% becomes %, and the other one after it.
        expect(options.get("identityfile")).toBe(identityFile.replaceAll("%", "%%"));
        expect(options.get("userknownhostsfile")).toBe(knownHostsFile);
        expect(options.get("hostname")).toBe("host.test");
      }),
      { numRuns: 60 },
    );
  });

  it("by program and arguments, and the key is read there", () => {
    const key = join(folder, "key");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    fc.assert(
      fc.property(path, (name) => {
        const identityFile = join(folder, "keys", name);
        mkdirSync(dirname(identityFile), { recursive: true });
        copyFileSync(key, identityFile);
        const connection = parseSshHost("ssh://me@host.test", { identityFile });
        const flags = ["-v", "-o", "ProxyCommand=false"];
        const [program = "", ...words] = hostArgv(connection, ["true"], flags);
        const { stderr } = spawnSync(program, words, { encoding: "utf8" });
        rmSync(join(folder, "keys"), { recursive: true });
        // -1: no such file.
        expect(stderr).toMatch(/identity file .* type (?!-1)/);
      }),
      { numRuns: 40 },
    );
  });

  it("of an emulated host, by its own script and its QEMU", () => {
    const script = (quoted: string) =>
      `. emulated-host/lib/machine.sh; HOST_DIR=${quoted} SSH_PORT=22; ssh_command; "\${SSH_COMMAND[@]}" -G`;
    fc.assert(
      fc.property(path, (home) => {
        const printed = execFileSync("bash", ["-c", script(shellQuote(home))], { encoding: "utf8" });
        expect(printed).toContain(`\nuserknownhostsfile ${home}/known_hosts\n`);
        expect(printed).toContain(`\nidentityfile ${home.replaceAll("%", "%%")}/client_key\n`);
      }),
      { numRuns: 30 },
    );
    const line = `. emulated-host/lib/machine.sh; qemu_path '/a,b,,c'`;
    expect(execFileSync("bash", ["-c", line], { encoding: "utf8" })).toBe("/a,,b,,,,c\n");
  });

  it("unless they hold what ssh can't be told: those are refused by name", () => {
    for (const wrong of ["/a/$\x7bHOME}/id", '/a"b', "-F/x", "none"]) {
      const given = { host: "ssh://me@host.test", sshKeyFile: wrong };
      expect(() => parseSettings(given, { source: "code" }), wrong).toThrow(/sshKeyFile/);
    }
    const given = { host: "ssh://me@host.test", sshKeyFile: "/Jane Doe/100%/it's #1/$HOME" };
    expect(parseSettings(given, { source: "code" }).sshKeyFile).toBe(given.sshKeyFile);
  });
});
