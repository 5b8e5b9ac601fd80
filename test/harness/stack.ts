import { randomInt } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parse, stringify } from "yaml";
import { type Backend, backendEnvironment, stateFolder } from "../../cli/backend";
import { type Child, exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { canRunPrivileged } from "./docker";

/** What a command printed and how it ended. */
export interface Outcome {
  exitCode: number;
  /** Standard output and error, in the order they came. */
  output: string;
  stdout: string;
}

/**
 * A real stack of this checkout with a settings file of its own, driven by the npm scripts as a user would.
 * Its name begins with `test-`: git ignores its file. `remove` leaves nothing of it behind.
 */
export class TestStack {
  readonly file: string;
  private readonly own: boolean;
  /** The commands of older checkouts never asked. */
  private readonly unasked: string[];

  /** @param root another checkout's folder, with packages; its stack has this one's state */
  constructor(
    readonly name: `test-${string}`,
    private settings: Record<string, unknown>,
    private readonly root = projectRoot,
  ) {
    this.file = join(root, `Pulumi.${name}.yaml`);
    this.own = root === projectRoot;
    this.unasked = this.own ? ["--yes"] : [];
    this.configure({});
  }

  /** Changes settings; undefined takes one away. */
  configure(changes: Record<string, unknown>): void {
    this.settings = { ...this.settings, ...changes };
    const entries = Object.entries(this.settings).filter(([, value]) => value !== undefined);
    const config = Object.fromEntries(entries.map(([key, value]) => [`microsandbox:${key}`, value]));
    const { encryptionsalt, config: written = {} } = this.read();
    const secrets = Object.entries(written).filter(([, value]) => isSecret(value));
    writeFileSync(
      this.file,
      stringify({
        ...(encryptionsalt ? { encryptionsalt } : {}),
        config: { ...Object.fromEntries(secrets), ...config },
      }),
    );
  }

  /** Removes what a run that was cut off left of an emulated host and of the stack: they bear the same names. */
  async removeLeftovers(): Promise<void> {
    const tool = join(projectRoot, "emulated-host/emulated-host.sh");
    await exec("bash", [tool, "delete", `microsandbox-${this.name}`], { stdio: "ignore" });
    await this.pulumi("stack", "rm", "--yes", "--force", "--preserve-config");
  }

  /** @param started gets the process of the script */
  async up(started?: (child: Child) => void): Promise<Outcome> {
    if (this.settings.privileged === false) await giveKvmToItsGroup();
    return this.npm("up", [...this.unasked, "--stack", this.name], started);
  }

  preview = () => this.npm("up", ["--preview", "--stack", this.name]);
  destroy = () => this.npm("destroy", [...this.unasked, "--stack", this.name]);
  pulumi = (...args: string[]) => this.npm("pulumi", [...args, "--stack", this.name]);
  doctor = (...args: string[]) => this.npm("doctor", ["--stack", this.name, ...args]);
  keys = (...args: string[]) => this.npm("keys", [...args, "--stack", this.name]);
  images = (...args: string[]) => this.npm("images", ["--stack", this.name, ...args]);
  sbom = (file: string) => this.npm("sbom", ["--stack", this.name, file]);
  import = () => this.npm("import", ["--stack", this.name]);
  backup = (file: string) => this.npm("backup", ["--stack", this.name, file]);
  restore = (file: string, ...flags: string[]) => this.npm("restore", ["--stack", this.name, ...flags, file]);
  sandbox = (...args: string[]) => this.npm("sandbox", ["--stack", this.name, ...args]);

  /** The stack's outputs. */
  async outputs(): Promise<Record<string, unknown>> {
    const { stdout } = await this.pulumi("stack", "output", "--json");
    return JSON.parse(stdout);
  }

  /** Destroys the stack and removes its state and settings file. */
  async remove(): Promise<void> {
    await this.destroy();
    await this.pulumi("stack", "rm", "--yes", "--force");
    rmSync(this.file, { force: true });
  }

  private async npm(command: string, args: string[], started?: (child: Child) => void): Promise<Outcome> {
    // The packages of another checkout are whoever's that made it: nothing is to be installed there.
    const words = this.own ? ["cli/bootstrap.mjs"] : ["--import", "tsx", "toolchain/cli.ts"];
    const options = {
      cwd: this.root,
      env: this.own ? loggedOut : backendEnvironment(process.env, folderOfCheckout),
      all: true,
      reject: false,
      stdin: "ignore",
    } as const;
    const result = await exec("node", [...words, command, ...args], options, started);
    if (process.env.TEST_VERBOSE) console.log(`$ npm run ${command} -- ${args.join(" ")}\n${result.all}`);
    return { exitCode: result.exitCode ?? 1, output: result.all ?? "", stdout: result.stdout ?? "" };
  }

  /** What Pulumi has written into the file: the salt of the passphrase, and encrypted settings. */
  private read(): { encryptionsalt?: string; config?: Record<string, unknown> } {
    return existsSync(this.file) ? parse(readFileSync(this.file, "utf8")) : {};
  }
}

/** As if nobody had logged in on this machine: the state is in the checkout's folder. */
const loggedOut = {
  PULUMI_BACKEND_URL: undefined,
  PULUMI_ACCESS_TOKEN: undefined,
  PULUMI_CREDENTIALS_PATH: join(stateFolder, "credentials-of-tests"),
};
const folderOfCheckout: Backend = { source: "checkout", url: pathToFileURL(stateFolder).href };

/** An object with the encrypted text, and nothing else: what Pulumi makes of a secret. */
function isSecret(value: unknown): boolean {
  return typeof value === "object" && value !== null && "secure" in value;
}

/** Settings of a server that takes little of this machine and boots no guest, on a free port. */
export const smallServer = async () => ({
  hostPort: await freePort(),
  privileged: await canRunPrivileged(),
  kvmCheck: "device",
  memoryLimit: "1G",
  memoryReservation: "256M",
  stopTimeout: 5,
});

/**
 * A TCP port on loopback that nobody listens on now. Not one of those that the system gives to connections, which might
 * take it before, or between two starts of, the server that it is for.
 */
export async function freePort(): Promise<number> {
  const [first = 32768] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")
    .split("\t")
    .map(Number);
  for (;;) {
    const port = randomInt(10_000, first);
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/**
 * Does for this machine's /dev/kvm what udev does on others: a server without privileges is not root, and can't use a
 * device that is for root alone.
 */
export async function giveKvmToItsGroup(): Promise<void> {
  if (!existsSync("/dev/kvm") || (statSync("/dev/kvm").mode & 0o060) === 0o060) return;
  console.log("/dev/kvm is for root alone on this machine; giving it to a group, with mode 660");
  const group = "getent group kvm | cut -d: -f3 | grep . || echo 104";
  await exec("sh", ["-c", `chgrp "$(${group})" /dev/kvm && chmod 660 /dev/kvm`]);
}
