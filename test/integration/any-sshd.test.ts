import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { hostShell, type SshConnection, sshFlags } from "../../components/host/connection";
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
});
