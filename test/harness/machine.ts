import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePackages } from "../../setup/engine/apt";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { noRcFile } from "./sshd";

const script = join(__dirname, "machine.sh");

/** Why no {@link Machine} can be made here; undefined where they can. */
export function noMachines(): string | undefined {
  if (process.getuid?.() !== 0) return "only root can make network namespaces";
  const { status, stderr, error } = spawnSync("unshare", ["--net", "--mount", "true"], { encoding: "utf8" });
  return status === 0 ? undefined : `no network namespaces here: ${error?.message ?? stderr}`;
}

/** A user of a {@link Machine}. */
export interface MachineUser {
  name: string;
  uid: number;
  gid: number;
  /** Lines of sshd's configuration for this user alone. */
  sshd?: string[];
}

/** A machine that stands in for a host: an SSH server and a Docker engine in a network namespace (machine.sh). */
export class Machine {
  readonly address: string;
  private readonly folder: string;
  private process: ChildProcess | undefined;

  /**
   * @param number tells its address from those of others
   * @param users who can log in besides root, all with the same key
   */
  constructor(
    private readonly name: string,
    private readonly number: number,
    private readonly users: readonly MachineUser[] = [],
  ) {
    this.folder = mkdtempSync(join(tmpdir(), `${name}-`));
    // Users read their authorized keys in it.
    chmodSync(this.folder, 0o755);
    this.address = `10.213.${number}.2`;
  }

  /** The setting `host`, and the files that go with it. */
  get settings() {
    return {
      host: `ssh://root@${this.address}`,
      sshKeyFile: join(this.folder, "client_key"),
      sshKnownHostsFile: join(this.folder, "known_hosts"),
    };
  }

  /** Makes it and waits until its engine answers. */
  async start(): Promise<void> {
    await ensurePackages(createReporter(), ["openssh-server", "iproute2"], "tests with several machines");
    await this.makeKeys();
    const args = [script, "up", this.name, this.folder, String(this.number)];
    this.process = spawn("sh", args, { stdio: ["ignore", "ignore", "inherit"] });
    await this.answers();
  }

  /** Ends its SSH server and every connection to it. */
  async cut(): Promise<void> {
    await exec("sh", [script, "cut", this.name, this.folder]);
  }

  /** Undoes {@link cut}. */
  async fix(): Promise<void> {
    rmSync(join(this.folder, "cut"));
    await this.answers();
  }

  /** Ends its engine in good order, containers and all, and starts it again. */
  async restartEngine(): Promise<void> {
    await this.run(
      `kill $(cat /run/docker.pid); while [ -e /run/docker.pid ]; do sleep 0.1; done
       setsid dockerd >>${this.folder}/dockerd.log 2>&1 </dev/null &`,
    );
    await this.answers();
  }

  /** Runs a shell line on it and returns what it printed. */
  async run(line: string): Promise<string> {
    const { host, sshKeyFile, sshKnownHostsFile } = this.settings;
    // Before it has its address, a connection would go elsewhere and wait for long.
    const options = [
      "BatchMode=yes",
      "ConnectTimeout=2",
      `UserKnownHostsFile=${sshKnownHostsFile}`,
      `IdentityFile=${sshKeyFile}`,
    ];
    const flags = options.flatMap((option) => ["-o", option]);
    const { stdout } = await exec("ssh", [...flags, host, line], { stdin: "ignore", timeout: 60_000 });
    return stdout;
  }

  /** Ends it and leaves nothing of it. */
  async remove(): Promise<void> {
    if (this.process && this.process.exitCode === null) {
      this.process.kill("SIGTERM");
      await once(this.process, "exit");
    }
    await exec("sh", [script, "down", this.name, this.folder]);
  }

  private async makeKeys(): Promise<void> {
    const file = (name: string) => join(this.folder, name);
    for (const key of ["client_key", "host_key"]) {
      await exec("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(key)]);
    }
    writeFileSync(file("authorized_keys"), readFileSync(file("client_key.pub")));
    writeFileSync(file("known_hosts"), `${this.address} ${readFileSync(file("host_key.pub"), "utf8")}`);
    const lines = [
      `HostKey ${file("host_key")}`,
      `AuthorizedKeysFile ${file("authorized_keys")}`,
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "StrictModes no",
      "UsePAM no",
      // Docker's SSH helper opens a connection per request, many at once.
      "MaxStartups 200",
      "MaxSessions 200",
      noRcFile,
    ];
    for (const { name, sshd = [] } of this.users) lines.push(`Match User ${name}`, ...sshd);
    writeFileSync(file("sshd_config"), `${lines.join("\n")}\n`);
    if (this.users.length === 0) return;
    const accounts = this.users.map(({ name, uid, gid }) => `${name}:*:${uid}:${gid}::/tmp:/bin/sh\n`);
    writeFileSync(file("passwd"), readFileSync("/etc/passwd", "utf8") + accounts.join(""));
  }

  private async answers(): Promise<void> {
    for (let turn = 0; (await this.run("docker version").catch(() => "")) === ""; turn++) {
      if (turn > 100) throw new Error(`the machine ${this.name} does not answer: see ${this.folder}`);
      await sleep(200);
    }
  }
}
