import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import {
  dockerHost,
  hostShell,
  parseSshHost,
  remoteCommand,
  shellQuote,
  withVariables,
} from "../../../../components/host/connection";

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
  it("takes the port, and 22 without one", () => {
    expect(parseSshHost("ssh://me@host.test:2200")).toMatchObject({
      user: "me",
      address: "host.test",
      port: 2200,
    });
    expect(parseSshHost("ssh://me@host.test")).toMatchObject({ port: 22 });
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
