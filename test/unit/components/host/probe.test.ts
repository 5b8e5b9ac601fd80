import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseSshHost } from "../../../../components/host/connection";
import { probeCommand, probed } from "../../../../components/host/probe";

const remote = parseSshHost("ssh://me@host.test:2200");
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "probe-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs the probe with an ssh on PATH that behaves as the script says. */
function probeWith(ssh: string): string {
  writeFileSync(join(folder, "ssh"), `#!/bin/sh\n${ssh}\n`);
  chmodSync(join(folder, "ssh"), 0o755);
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, HOME: folder };
  return execFileSync("sh", ["-c", probeCommand(remote)], {
    input: "echo from the script",
    env,
    encoding: "utf8",
  });
}

it("gives the script to a shell on the host and its output back", () => {
  expect(probed(remote, probeWith("sh -s"))).toBe("from the script\n");
});

describe("where ssh fails", () => {
  it.each([
    [
      "me@host.test: Permission denied (publickey).",
      /rejects the SSH key[\s\S]*ssh-copy-id -p 2200 me@host.test/,
    ],
    ["Host key verification failed.", /host key is unknown or has changed/],
    ["ssh: connect to host host.test port 2200: Connection refused", /SSH server can't be reached/],
    ["ssh: Could not resolve hostname host.test: Name or service not known", /SSH server can't be reached/],
    ["ssh: connect to host host.test port 2200: No route to host", /SSH server can't be reached/],
    ["sh: 1: sh: Permission denied", /ssh failed[\s\S]*sh: 1: sh: Permission denied/],
    [
      "/tmp/microsandbox-7 is not a folder of this user's",
      /the folder for its connections belongs to another user[\s\S]*sudo rm -rf \/tmp\/microsandbox-7/,
    ],
    ["something new", /ssh failed[\s\S]*something new/],
  ])("%s", (said, message) => {
    const stdout = probeWith(`cat >/dev/null; echo "${said}" >&2; exit 255`);
    expect(() => probed(remote, stdout)).toThrow(message);
  });

  it("the line to try by hand has the files of the settings: without them it may work", () => {
    const files = { identityFile: "/my keys/id", knownHostsFile: "/kh" };
    const withFiles = parseSshHost("ssh://me@host.test", files);
    expect(() => probed(withFiles, "unreachable: something new")).toThrow(
      `ssh -o 'UserKnownHostsFile="/kh"' -o 'IdentityFile="/my keys/id"' -o IdentitiesOnly=yes me@host.test true`,
    );
  });
});
