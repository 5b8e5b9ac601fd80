import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { untilReady } from "../../../../components/host/await-host";
import { hostArgv, type SshConnection } from "../../../../components/host/connection";
import { probeCommand, probed } from "../../../../components/host/probe";
import { Microsandbox } from "../../../../components/microsandbox";
import { healthyHost, registered } from "../../../harness/pulumi-mocks";
import { noSshd, Sshd } from "../../../harness/sshd";

const host: SshConnection = { kind: "ssh", user: "root", address: "10.1.2.3" };
const refused = "unreachable: ssh: connect to host 10.1.2.3 port 22: Connection refused";

/** Waits for a host that answers as the list says, the last one for ever: what was reported, and how often it was asked. */
async function waited(answers: string[], limitMs = 60_000) {
  const reports: string[] = [];
  let asked = 0;
  const ask = async () => answers[Math.min(asked++, answers.length - 1)] ?? "";
  await untilReady(host, ask, (text) => reports.push(text), { limitMs, pauseMs: 1, reportMs: 60_000 });
  return { asked, reports };
}

describe("a machine that the same program creates is waited for", () => {
  it("until its SSH server, its keys and its engine are there, and each reason is told once", async () => {
    const rejects = "unreachable: root@10.1.2.3: Permission denied (publickey).";
    const { asked, reports } = await waited([refused, refused, rejects, "no engine\n", "engine answers\n"]);
    expect(asked).toBe(5);
    expect(reports).toEqual([
      expect.stringMatching(/^Waiting for the new machine 10\.1\.2\.3: its SSH server can't be reached/),
      expect.stringContaining("it rejects the SSH key"),
      expect.stringContaining("its Docker engine does not answer"),
    ]);
  });

  it("not longer than the limit", async () => {
    const { reports } = await waited([refused], 30);
    expect(reports.at(-1)).toMatch(/^Gave up waiting for 10\.1\.2\.3 .*can't be reached/);
  });

  it("not at all where its host key is another one", async () => {
    const { asked, reports } = await waited(["unreachable: Host key verification failed."]);
    expect([asked, reports]).toEqual([1, []]);
  });

  it("only where its address is an output, and in no preview", async () => {
    const waits = async (address: pulumi.Input<string>, preview: boolean) => {
      const asked: string[] = [];
      const program = () => new Microsandbox("vm", { host: address });
      await registered(program, { ...healthyHost, asked }, "dev", { preview });
      return asked.some((command) => command.includes("ControlPath=none"));
    };
    const address = "ssh://root@10.1.2.3";
    expect(await waits(pulumi.output(address), false)).toBe(true);
    expect(await waits(pulumi.output(address), true)).toBe(false);
    expect(await waits(address, false)).toBe(false);
  });
});

describe.skipIf(noSshd)("a host key of the settings", () => {
  let sshd: Sshd;
  const connection = (hostKey: string): SshConnection => ({
    ...sshd.connection,
    knownHostsFile: "/dev/null",
    hostKey,
  });
  const key = (file: string) => readFileSync(sshd.file(file), "utf8").split(" ").slice(0, 2).join(" ");
  /** A login of its own: over a shared connection no key is looked at. */
  const alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"];

  beforeAll(async () => {
    sshd = await Sshd.start();
  });
  afterAll(() => sshd.stop());

  it("is enough: no file knows the host", () => {
    for (const keys of [key("host_key.pub"), `${key("client_key.pub")}\n${key("host_key.pub")}`]) {
      const [program = "", ...words] = hostArgv(connection(keys), ["echo", "in"], alone);
      expect(execFileSync(program, words, { encoding: "utf8" })).toBe("in\n");
    }
  });

  it("is the only one, and a host with another one is told apart", () => {
    const other = connection(key("client_key.pub"));
    const stdout = execFileSync("sh", ["-c", probeCommand(other, alone)], {
      input: "echo in",
      encoding: "utf8",
    });
    expect(() => probed(other, stdout)).toThrow(/its host key is not the one in sshHostKey/);
  });

  it("a host that starts late is reached", async () => {
    const late = await Sshd.prepare();
    try {
      const to = { ...late.connection, hostKey: late.hostKey.split(" ").slice(0, 2).join(" ") };
      const script = "echo engine answers";
      const ask = async () =>
        execFileSync("sh", ["-c", probeCommand(to, alone)], { input: script, encoding: "utf8" });
      const reports: string[] = [];
      const ready = untilReady(to, ask, (text) => reports.push(text), { pauseMs: 50 });
      await sleep(300);
      await late.listen();
      await ready;
      expect(reports).toEqual([expect.stringContaining("can't be reached")]);
      expect(late.logins).toBe(1);
    } finally {
      late.stop();
    }
  });
});
