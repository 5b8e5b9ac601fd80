import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  dockerHost,
  hostArgv,
  hostShell,
  parseSshHost,
  remoteCommand,
  sshFlags,
  withVariables,
} from "../../../../components/host/connection";
import { shellQuote } from "../../../../components/settings/shell";

const local = { kind: "local" } as const;
const words = [
  "plain",
  "two words",
  "it's",
  'a "b"',
  "$HOME",
  "`id`",
  "a\\b",
  "",
  "*",
  "new\nline",
  "ünïcode",
  "-n",
];

describe("shellQuote", () => {
  it.each(words)("keeps %j one word, unchanged", (word) => {
    expect(execFileSync("sh", ["-c", `printf %s ${shellQuote(word)}`], { encoding: "utf8" })).toBe(word);
  });
});

it("sets variables in front of a script", () => {
  const script = withVariables({ NAME: "it's", COUNT: 2 }, 'printf "%s|%s" "$NAME" "$COUNT"');
  expect(execFileSync("sh", ["-s"], { input: script, encoding: "utf8" })).toBe("it's|2");
});

describe("parseSshHost", () => {
  it("takes the port", () => {
    expect(parseSshHost("ssh://me@host.test:2200")).toMatchObject({
      user: "me",
      address: "host.test",
      port: 2200,
    });
  });

  it("B13: leaves a port that the setting does not name to ~/.ssh/config, and so does the provider", () => {
    const folder = mkdtempSync(join(tmpdir(), "ssh-config-"));
    writeFileSync(join(folder, "config"), "Host kvm\n  HostName 10.1.2.3\n  Port 2222\n");
    const target = (url: string) => {
      const [program = "", ...words] = hostArgv(parseSshHost(url), [], ["-G", "-F", join(folder, "config")]);
      const printed = execFileSync(program, words, { encoding: "utf8" });
      return `${/^hostname (.*)$/m.exec(printed)?.[1]}:${/^port (.*)$/m.exec(printed)?.[1]}`;
    };
    expect(target("ssh://me@kvm")).toBe("10.1.2.3:2222");
    expect(target("ssh://me@kvm:2200")).toBe("10.1.2.3:2200");
    expect(target("ssh://me@other")).toBe("other:22");
    expect(dockerHost(parseSshHost("ssh://me@kvm"))).toBe("ssh://me@kvm");
    rmSync(folder, { recursive: true });
  });

  it("takes IPv6 addresses, for ssh bare and for Docker in brackets", () => {
    const connection = parseSshHost("ssh://me@[::1]:2200");
    expect(connection).toMatchObject({ address: "::1" });
    expect(dockerHost(connection)).toBe("ssh://me@[::1]:2200");
  });
});

describe("commands on the host", () => {
  it("run directly on this machine", () => {
    expect(hostShell(local)).toBe("sh -s");
  });

  it("go through ssh elsewhere, never asking, with known host keys only", () => {
    const command = remoteCommand(
      parseSshHost("ssh://me@host.test", { identityFile: "/my keys/id" }),
      "docker ps",
    );
    expect(command).toContain("StrictHostKeyChecking=yes");
    expect(command).toContain("BatchMode=yes");
    expect(command).toContain(`'IdentityFile="/my keys/id"'`);
    expect(command.endsWith("-- me@host.test 'docker ps'")).toBe(true);
  });
});

describe("13 and B14: the socket of a shared connection", () => {
  const connection = parseSshHost("ssh://me@host.test");

  it("has a short path, whatever the home folder and the name of the user", () => {
    for (const line of [remoteCommand(connection, "true"), sshFlags(connection).join(" ")]) {
      const [, path = ""] = /ControlPath=(\S+)/.exec(line) ?? [];
      // %C becomes 40 digits, ssh adds 17 characters, and the 104th ends the text.
      expect(path.replace("%i", "4294967295").replace("%C", "x".repeat(40)).length + 17).toBeLessThan(104);
      expect(line).not.toMatch(/~|HOME|id -un/);
    }
  });

  it("is opened by commands alone: the provider also runs where nobody has made the folder", () => {
    expect(sshFlags(connection)).toContain("ControlMaster=no");
    expect(remoteCommand(connection, "true")).toContain("ControlMaster=auto");
  });

  it.skipIf(process.getuid?.() !== 0)("is never in a folder of another user's", () => {
    const [owner, uid] = [2000000001, 2000000002];
    const shared = `/tmp/microsandbox-${uid}`;
    mkdirSync(shared);
    chownSync(shared, owner, owner);
    const options = { uid, gid: uid, encoding: "utf8" } as const;
    const [program = "", ...words] = hostArgv(connection, ["true"]);
    for (const run of [
      spawnSync("sh", ["-c", remoteCommand(connection, "true")], options),
      spawnSync(program, words, options),
    ]) {
      expect(run.status).toBe(1);
      expect(run.stderr).toBe(`${shared} is not a folder of this user's\n`);
    }
    rmSync(shared, { recursive: true });
    spawnSync("sh", ["-c", remoteCommand(connection, "true")], options);
    expect(statSync(shared)).toMatchObject({ uid, mode: 0o40700 });
    rmSync(shared, { recursive: true });
  });
});
