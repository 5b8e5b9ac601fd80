import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { parse, stringify } from "yaml";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { createReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { kubectlFolder } from "./kubectl";
import { giveKvmToItsGroup, type Outcome } from "./stack";

/**
 * Pulumi as somebody uses it who knows nothing of the npm scripts: in an environment of its own (a home, a login, a
 * passphrase), with the tools on PATH. What the npm scripts set or look for is not there.
 */
export class PlainPulumi {
  readonly home = mkdtempSync(join(tmpdir(), "microsandbox-plain-"));
  private env: Record<string, string> = {};
  /** Settings files that Pulumi makes in the checkout. */
  private readonly files = new Set<string>();

  /**
   * @param plugins executables to put before the project's own tools. @example ["/somewhere/pulumi-resource-command"]
   * @param kubeconfig of a cluster; with it, there are kubectl and the Kubernetes plugin, too
   */
  constructor(
    private readonly plugins: readonly string[] = [],
    private readonly kubeconfig?: string,
  ) {}

  async start(): Promise<void> {
    await giveKvmToItsGroup();
    const report = createReporter();
    const isCluster = this.kubeconfig !== undefined;
    const { binDir } = await ensureTools(report, { kubernetes: isCluster });
    const bin = join(this.home, "bin");
    for (const folder of [bin, join(this.home, "state")]) mkdirSync(folder);
    for (const plugin of this.plugins) copyFileSync(plugin, join(bin, plugin.split("/").pop() ?? ""));
    symlinkSync(process.execPath, join(bin, "node"));
    if (isCluster) symlinkSync(join(await kubectlFolder(), "kubectl"), join(bin, "kubectl"));
    const { stdout } = await exec("sh", ["-c", "command -v docker"]);
    const folders = [bin, binDir, dirname(stdout.trim()), "/usr/bin", "/bin"];
    this.env = {
      PATH: folders.join(delimiter),
      HOME: this.home,
      // Pulumi asks the system, not HOME, where the user's own login is.
      PULUMI_HOME: join(this.home, ".pulumi"),
      PULUMI_CONFIG_PASSPHRASE: "correct horse",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...(this.kubeconfig === undefined ? {} : { KUBECONFIG: this.kubeconfig }),
      // Where the tests run with another engine than the standard one.
      ...(process.env.DOCKER_HOST ? { DOCKER_HOST: process.env.DOCKER_HOST } : {}),
    };
    const login = await this.run("login", `file://${join(this.home, "state")}`);
    if (login.exitCode !== 0) throw new Error(login.output);
    if (!existsSync(join(this.home, ".pulumi/credentials.json"))) throw new Error("the login went elsewhere");
  }

  /** What programs find in it. */
  get environment(): Record<string, string> {
    return this.env;
  }

  /** Runs `pulumi` in the checkout. */
  async run(...args: string[]): Promise<Outcome> {
    const result = await exec("pulumi", args, {
      cwd: projectRoot,
      env: this.env,
      extendEnv: false,
      all: true,
      reject: false,
      stdin: "ignore",
    });
    if (process.env.TEST_VERBOSE) console.log(`$ pulumi ${args.join(" ")}\n${result.all}`);
    return { exitCode: result.exitCode ?? 1, output: result.all ?? "", stdout: result.stdout ?? "" };
  }

  /** The process that holds the lock of a stack; undefined where none does. */
  lockOwner(stack: string): number | undefined {
    const folder = join(this.home, "state/.pulumi/locks/organization/microsandbox", stack);
    const [file] = existsSync(folder) ? readdirSync(folder) : [];
    return file && JSON.parse(readFileSync(join(folder, file), "utf8")).pid;
  }

  /** Makes a stack with these settings. */
  async init(stack: string, settings: Record<string, unknown>): Promise<void> {
    const file = join(projectRoot, `Pulumi.${stack}.yaml`);
    this.files.add(file);
    writeFileSync(file, JSON.stringify({ config: configOf(settings) }));
    const { exitCode, output } = await this.run("stack", "init", stack);
    if (exitCode !== 0) throw new Error(output);
  }

  /** Gives a stack these settings in place of all that it had; what is encrypted with its passphrase stays readable. */
  configure(stack: string, settings: Record<string, unknown>): void {
    const file = join(projectRoot, `Pulumi.${stack}.yaml`);
    const { encryptionsalt } = parse(readFileSync(file, "utf8"));
    writeFileSync(file, stringify({ encryptionsalt, config: configOf(settings) }));
  }

  /** Leaves nothing of it on this machine; what its stacks have deployed has to be destroyed before. */
  remove(): void {
    for (const file of this.files) rmSync(file, { force: true });
    rmSync(this.home, { recursive: true, force: true });
  }
}

const configOf = (settings: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(settings).map(([key, value]) => [`microsandbox:${key}`, value]));
