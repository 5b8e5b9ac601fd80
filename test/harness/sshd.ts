import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hostArgv, parseSshHost, type SshConnection } from "../../components/host/connection";
import { freePort } from "./stack";

const program = "/usr/sbin/sshd";

/** Why no {@link Sshd} can be started here; undefined where one can. */
export const noSshd = existsSync(program) ? undefined : "openssh-server is not installed";

/**
 * A line of sshd's configuration by which bash, started at this depth, reads no ~/.bashrc. Tests end sessions at any
 * moment, and an rc file that is ended half way may leave its lock behind (pyenv's does: each shell after it waits 60 s).
 */
export const noRcFile = "SetEnv SHLVL=1";

/** An SSH server on loopback: by it this machine is a host for itself, with whatever configuration of sshd. */
export class Sshd {
  readonly folder = mkdtempSync(join(tmpdir(), "test sshd-"));
  private process: ChildProcess | undefined;
  private constructor(readonly port: number) {}

  /** @param lines of its configuration */
  static async start(...lines: string[]): Promise<Sshd> {
    const sshd = await Sshd.prepare();
    await sshd.listen(lines);
    return sshd;
  }

  /** One that has its keys and its port, and does not listen yet. */
  static async prepare(): Promise<Sshd> {
    const sshd = new Sshd(await freePort());
    for (const key of ["client_key", "host_key"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", sshd.file(key)]);
    writeFileSync(sshd.file("known_hosts"), `[127.0.0.1]:${sshd.port} ${sshd.hostKey}`);
    writeFileSync(sshd.file("log"), "");
    return sshd;
  }

  /** Its public key, a line as the file on a host has it. */
  get hostKey(): string {
    return readFileSync(this.file("host_key.pub"), "utf8");
  }

  get connection(): SshConnection {
    const url = `ssh://${userInfo().username}@127.0.0.1:${this.port}`;
    return {
      ...(parseSshHost(url) as SshConnection),
      identityFile: this.file("client_key"),
      knownHostsFile: this.file("known_hosts"),
    };
  }

  /** How often somebody has logged in. */
  get logins(): number {
    return readFileSync(this.file("log"), "utf8").split("Accepted publickey").length - 1;
  }

  file = (name: string) => join(this.folder, name);

  /** Ends it and the shared connection to it. */
  stop(): void {
    this.process?.kill("SIGKILL");
    const [ssh = "", ...words] = hostArgv(this.connection, [], ["-O", "exit"]);
    spawnSync(ssh, words);
    rmSync(this.folder, { recursive: true });
  }

  async listen(lines: string[] = []): Promise<void> {
    const configuration = [
      "ListenAddress 127.0.0.1",
      `Port ${this.port}`,
      `HostKey "${this.file("host_key")}"`,
      `AuthorizedKeysFile "${this.file("client_key.pub")}"`,
      `PidFile "${this.file("pid")}"`,
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "StrictModes no",
      "UsePAM no",
      noRcFile,
      ...lines,
    ];
    writeFileSync(this.file("config"), `${configuration.join("\n")}\n`);
    if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
    this.process = spawn(program, ["-D", "-f", this.file("config"), "-E", this.file("log")], {
      stdio: "ignore",
    });
    for (let turn = 0; !existsSync(this.file("pid")); turn++) {
      if (turn > 100) throw new Error(`sshd does not start: ${readFileSync(this.file("log"), "utf8")}`);
      await sleep(50);
    }
  }
}
