import { hostArgv } from "../../components/host/connection";
import { exec, type Piped, pipe } from "../../setup/exec";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import type { DeployedServer } from "../commands/sandbox";
import { settled } from "../deploy/settled";
import { whyDown } from "../server-down";
import { beginWork } from "./at-work";
import { contentScript, finishScript } from "./volume-scripts";

/** What changes when the server is started or replaced. */
const STARTS = "{{.Id}} {{.State.Running}} {{.State.StartedAt}}";

/** The server's container and its volumes, seen from the host's engine. */
export class ServerVolumes {
  private readonly helper: string;
  /** Name of the container that swaps the state: not ended with what runs here. */
  private readonly swapper: string;

  constructor(
    private readonly server: DeployedServer,
    private readonly report: Reporter,
    private readonly cancelSignal: AbortSignal,
  ) {
    this.helper = `${server.container}-volumes`;
    this.swapper = `${server.container}-swap`;
  }

  /** Runs docker on the host. @throws UserError with docker's own words */
  async docker(args: string[]): Promise<string> {
    const [program = "docker", ...words] = hostArgv(this.server.connection, ["docker", ...args]);
    const run = () => exec(program, words, { stdin: "ignore", reject: false });
    const what = `waiting for docker ${args[0]} on the host`;
    const { exitCode, stdout, stderr } = await this.report.wait(what, run);
    if (exitCode === 0) return stdout;
    const down = await whyDown(this.server, this.report, true);
    if (down) throw down;
    throw new UserError(`docker ${args[0]} failed on the host: ${stderr.trim() || stdout.trim()}`);
  }

  /** One value of the container, by its place in `docker inspect`. */
  inspect = (format: string): Promise<string> =>
    this.docker(["inspect", "--format", format, this.server.container]);

  /** Prints what is worth keeping in the volumes; empty where there is nothing. */
  content = async (): Promise<string[]> => (await this.run("ro", contentScript)).split("\n").filter(Boolean);

  /** Whether the version in the server's image can use a state that this one has written. @throws UserError where it does not say */
  async accepts(version: string): Promise<boolean> {
    const image = await this.inspect("{{.Image}}");
    const command = ["node", "/opt/gateway/server.cjs", "accepts", version];
    return this.docker(["run", "--rm", "--network", "none", image, ...command]).then(
      () => true,
      (error: Error) => {
        // What docker/gateway/src/commands.ts says; any other failure is no answer.
        if (error.message.includes(`is older than ${version}`)) return false;
        throw error;
      },
    );
  }

  /**
   * Runs a script beside the volumes, in a container without a network from the server's image.
   *
   * @param mode whether the volumes may be written
   * @returns the process: its streams carry the data
   */
  async beside(mode: "ro" | "rw", script: string): Promise<Piped> {
    const command = ["docker", ...(await this.helperArgs(mode, "--interactive")), "sh", "-c", script];
    const [program = "docker", ...words] = hostArgv(this.server.connection, command);
    return pipe(program, words, this.cancelSignal);
  }

  /** Runs a short script beside the volumes. @throws UserError with what it said */
  run = async (mode: "ro" | "rw", script: string): Promise<string> =>
    this.docker([...(await this.helperArgs(mode)), "sh", "-c", script]);

  /**
   * Puts a restored state in its place, in a container that neither Ctrl+C nor a lost connection ends; one that has been
   * cut off all the same goes on. Nothing where none was committed.
   *
   * @param finish what the container does
   * @throws UserError where it did not come to its end
   */
  async finishSwap(finish = finishScript()): Promise<void> {
    const there = ["ps", "--all", "--quiet", "--filter", `name=^${this.swapper}$`];
    // One that was made and not started, or has ended, does it again, which changes nothing that is done.
    if ((await this.docker(there)) !== "") await this.docker(["start", this.swapper]);
    else {
      const script = `exec 2>&1\n${finish}`;
      const detached = ["run", "--detach", "--init", "--name", this.swapper];
      await this.docker([...detached, ...(await this.besideArgs("rw")), "sh", "-c", script]);
    }
    const ended = () => this.docker(["wait", this.swapper]);
    // Ctrl+C ends the docker client that waits, too.
    const code = await ended().catch(ended);
    const said = await this.docker(["logs", this.swapper]);
    await this.docker(["rm", this.swapper]);
    if (code !== "0") throw new UserError(`The backup could not be put in its place: ${said}`);
  }

  /** Runs work on the server that nobody else works on meanwhile. @throws UserError where somebody does */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const image = await this.inspect("{{.Image}}");
    const end = await beginWork(this.server, image);
    try {
      await this.refuseUnfinishedUpgrade(image);
      return await work();
    } finally {
      await end();
    }
  }

  /** The host goes back from it by itself, or an `up` goes on (components/server/take-over.sh). */
  private async refuseUnfinishedUpgrade(image: string): Promise<void> {
    const named = ["--filter", `name=^${this.server.container}-trial$`, "--format", "{{.Image}}"];
    const trial = await this.docker(["ps", "--all", "--no-trunc", ...named]);
    if (trial === "" || trial === image || (await this.inspect("{{.State.Running}}")) === "true") return;
    throw new UserError(
      `An upgrade of the server ${this.server.container} was interrupted before its container was replaced. ` +
        `Nothing was changed.\nFirst: npm run up -- --stack ${this.server.stack}`,
    );
  }

  /**
   * Stops the server for the time of `work`, and starts it again whatever happens, unless the state is not whole.
   *
   * @param work calls what it is given before the state counts as the one that the server has left
   * @param makeWhole ends, or removes, what `work` has left where it failed
   */
  async whileStopped<T>(
    work: (stayedStopped: () => Promise<void>) => Promise<T>,
    makeWhole?: () => Promise<void>,
  ): Promise<T> {
    const ran = (await this.inspect("{{.State.Running}}")) === "true";
    const stop = () => this.docker(["stop", this.server.container]);
    const began = Date.now();
    let isStopped = !ran;
    let hasFailed = true;
    try {
      if (ran) {
        // Ctrl+C ends the docker client that waits, too, and not the stop.
        await this.report.step(
          "Stop the server: its sandboxes are stopped cleanly and start again afterwards",
          () => stop().catch(stop),
        );
      }
      isStopped = true;
      this.cancelSignal.throwIfAborted();
      const stopped = await this.inspect(STARTS);
      const done = await work(async () => {
        if ((await this.inspect(STARTS)) === stopped) return;
        throw new UserError(
          "The server was started or replaced meanwhile, by something else than this command. Its data was not changed, " +
            "and no backup is kept.\nTo try it again: the same command.",
        );
      });
      hasFailed = false;
      return done;
    } finally {
      // Left over where the connection broke or the user cut it off.
      await this.docker(["rm", "--force", this.helper]).catch(() => undefined);
      const isWhole = !hasFailed || !isStopped || (await isDone(makeWhole));
      if (!isWhole)
        this.report.say(
          "The server stays stopped: the backup is partly in its place. Nothing of it, or of what was there, is lost.\n" +
            "To go on: the same command again.",
        );
      else if (ran) {
        await this.report.step("Start the server", () => this.start());
        this.report.say(`The server was down for ${Math.round((Date.now() - began) / 1000)} s.`);
      } else this.report.say("The server was not running and stays stopped. To start it: npm run up.");
    }
  }

  private async start(): Promise<void> {
    await this.docker(["start", this.server.container]);
    const state = await settled((format) => this.inspect(format));
    if (state === "running healthy") return;
    const log = await this.docker(["logs", "--tail", "5", this.server.container]);
    throw new UserError(`The server does not become ready (${state}). The end of its log:\n${log}`);
  }

  private async helperArgs(mode: "ro" | "rw", ...flags: string[]): Promise<string[]> {
    const helper = ["run", "--rm", "--init", ...flags, "--name", this.helper, "--log-driver", "none"];
    return [...helper, ...(await this.besideArgs(mode))];
  }

  /** Root without a network, from the server's image, with its volumes. */
  private async besideArgs(mode: "ro" | "rw"): Promise<string[]> {
    const image = await this.inspect("{{.Image}}");
    const volumes = `${this.server.container}:${mode}`;
    // The files may belong to another user than root, and an SELinux host labels them for the server.
    const user = ["--network", "none", "--user", "0:0", "--security-opt", "label=disable"];
    return [...user, "--volumes-from", volumes, image];
  }
}

const isDone = (work: (() => Promise<void>) | undefined): Promise<boolean> =>
  (work?.() ?? Promise.resolve()).then(
    () => true,
    () => false,
  );
