import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { hostShell, type SshConnection, sshFlags } from "../../components/host/connection";
import { parsePreflightReport } from "../../components/host/preflight-report";
import { probeCommand, probed } from "../../components/host/probe";
import { script } from "../../components/host/scripts";
import { noSshd, Sshd } from "../harness/sshd";

/** How servers and accounts are set up elsewhere, each by its number among the public reports. */

if (noSshd) console.log(`connections over SSH not tested: ${noSshd}`);
let sshd: Sshd;
afterEach(() => sshd?.stop());

/** Runs a command line of ours with a script as its input. */
async function run(connection: SshConnection, script: string, env: NodeJS.ProcessEnv = process.env) {
  return finished(spawn("sh", ["-c", hostShell(connection)], { env }), script);
}

/** What the Docker provider starts for each connection to the engine. */
function dial(connection: SshConnection, input: string) {
  const target = ["-l", connection.user, "-p", `${connection.port}`, ...sshFlags(connection), "-T", "--"];
  return finished(spawn("ssh", [...target, connection.address, "docker system dial-stdio"]), input);
}

async function finished(child: ReturnType<typeof spawn>, input: string) {
  const text = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk) => (text.stdout += chunk));
  child.stderr?.on("data", (chunk) => (text.stderr += chunk));
  child.stdin?.end(input);
  const [status] = await once(child, "close");
  return { status, ...text };
}

describe.skipIf(noSshd !== undefined)("a host over SSH", () => {
  it("13: is reached over one connection from a home folder of any length", async () => {
    sshd = await Sshd.start();
    const env = { ...process.env, HOME: `/${"long-folder/".repeat(20)}` };
    for (let turn = 0; turn < 5; turn++)
      expect(await run(sshd.connection, "echo here", env)).toEqual({
        status: 0,
        stdout: "here\n",
        stderr: "",
      });
    expect(sshd.logins).toBe(1);
    const answer = await dial(sshd.connection, "GET /_ping HTTP/1.0\r\n\r\n");
    expect(answer.stdout, answer.stderr).toMatch(/^HTTP\/1\.0 200 OK/);
    expect(sshd.logins, "the provider's are over the same one").toBe(1);
  });

  it("21: whose login shell prints something is refused, with the line that makes it silent", async () => {
    sshd = await Sshd.start('ForceCommand sh -c "echo Welcome; $SSH_ORIGINAL_COMMAND"');
    const command = probeCommand(sshd.connection);
    const { stdout } = await finished(spawn("sh", ["-c", command]), script("host/preflight"));
    expect(() => parsePreflightReport(probed(sshd.connection, stdout))).toThrow(
      /login shell of the host prints "Welcome"[\s\S]*case \$- in/,
    );
    expect((await dial(sshd.connection, "GET /_ping HTTP/1.0\r\n\r\n")).stdout, "or it would be").toMatch(
      /^Welcome/,
    );
  });

  it("21: whose login shell complains on standard error is none the worse", async () => {
    sshd = await Sshd.start(
      'ForceCommand sh -c "echo setlocale: cannot change locale >&2; $SSH_ORIGINAL_COMMAND"',
    );
    const command = probeCommand(sshd.connection);
    const { stdout } = await finished(spawn("sh", ["-c", command]), script("host/preflight"));
    expect(parsePreflightReport(probed(sshd.connection, stdout)).engine).not.toBeNull();
  });

  it.each(["MaxSessions 2", "MaxStartups 3:100:3"])(
    "29: with %s serves many commands, and the provider's connections, at once",
    async (line) => {
      sshd = await Sshd.start(line);
      expect((await run(sshd.connection, "echo first")).stdout).toBe("first\n");
      const many = Array.from({ length: 4 }, (_, number) => run(sshd.connection, `sleep 1; echo ${number}`));
      const provider = Array.from({ length: 2 }, () => dial(sshd.connection, "GET /_ping HTTP/1.0\r\n\r\n"));
      for (const [number, { stdout, stderr }] of (await Promise.all(many)).entries())
        expect(stdout, stderr).toBe(`${number}\n`);
      for (const { stdout, stderr } of await Promise.all(provider)) expect(stdout, stderr).toMatch(/200 OK/);
    },
  );

  it("29: that takes no more is told from one that can't be reached, with what to set there", async () => {
    sshd = await Sshd.start("MaxSessions 0", "MaxStartups 1:100:1");
    const { stdout } = await finished(spawn("sh", ["-c", probeCommand(sshd.connection)]), "true");
    expect(() => probed(sshd.connection, stdout)).toThrow(/MaxSessions 10 and MaxStartups/);
  });
});
