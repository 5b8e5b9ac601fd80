import { hostArgv } from "../../components/host/connection";
import { keysPath, serverHome, settingsFiles } from "../../components/server/stack-files";
import { exec, type Piped, pipe } from "../../setup/exec";
import type { Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import type { DeployedServer } from "../commands/sandbox";
import { settled } from "../deploy/settled";
import { whyDown } from "../server-down";
import type { VolumeEntry } from "./archive";

/** Where the server has its volumes. */
const folders: Record<VolumeEntry, string> = {
  "state.tar.zst": serverHome,
  "workspace.tar.zst": "/workspace",
};

/**
 * Not in a backup: settings, sockets and locks of running sandboxes, copies that an upgrade keeps, and what a restore
 * was cut off at.
 */
const left = [...settingsFiles, "run", "copies", ".incoming", ".outgoing"];

// busybox's sh prefers its own tar, which knows neither sparse disks nor extended attributes.
const tar = "/usr/bin/tar --numeric-owner --xattrs --xattrs-include='user.*'";
const zstd = (make: string) =>
  `node -e 'const z=require("node:zlib");require("node:stream").pipeline(process.stdin,z.${make},process.stdout,(e)=>{if(e){console.error(e.message);process.exit(1)}})'`;
const compress = zstd("createZstdCompress({params:{[z.constants.ZSTD_c_compressionLevel]:1}})");
const decompress = zstd("createZstdDecompress()");

/** Prints a volume as a compressed tar file. */
export const packScript = (entry: VolumeEntry): string =>
  `set -euo pipefail; ${tar} -C ${folders[entry]} ${left.map((path) => `--exclude=./${path}`).join(" ")} -cS . | ${compress}`;

/** Unpacks a volume beside its present content. */
export const unpackScript = (entry: VolumeEntry): string =>
  `set -euo pipefail; cd ${folders[entry]}; rm -rf .incoming; mkdir .incoming; ${decompress} | ${tar} -C .incoming -xpS`;

/**
 * Puts what was unpacked in the place of what is there. The copies of upgrades and the stack's settings stay.
 *
 * @param keepKeys whether the stack's own keys stay, too
 * @param user who the server is, in Docker's form: all becomes its own. Empty for root, who may write to anybody's
 */
export function swapScript(keepKeys: boolean, user: string): string {
  const swap = (folder: string) => `cd ${folder}
rm -rf .outgoing && mkdir .outgoing
for each in * .[!.]* ..?*; do
  case $each in copies | .incoming | .outgoing) continue ;; esac
  [ ! -e "$each" ] && [ ! -L "$each" ] || mv "$each" .outgoing/
done
for each in .incoming/* .incoming/.[!.]* .incoming/..?*; do
  [ ! -e "$each" ] && [ ! -L "$each" ] || mv "$each" .
done`;
  const stays = [...settingsFiles, ...(keepKeys ? [keysPath] : [])];
  const keep = `for each in ${stays.join(" ")}; do
  rm -rf "$each"
  [ ! -e ".outgoing/$each" ] || { mkdir -p "$(dirname "$each")" && cp -a ".outgoing/$each" "$each"; }
done`;
  const drop = "rm -rf .incoming .outgoing";
  const { "state.tar.zst": state, "workspace.tar.zst": workspace } = folders;
  const [uid = "0"] = user.split(":");
  const own =
    Number(uid) > 0 ? `find ${state} ${workspace} ! -user ${uid} -exec chown -h ${uid}:${uid} {} +` : "";
  return ["set -eu", swap(state), keep, drop, swap(workspace), drop, own].join("\n");
}

/** Counts what a restore would replace: sandboxes, volumes, snapshots and files of the workspace. */
export const contentScript = `for folder in sandboxes volumes snapshots; do
  [ ! -d ${serverHome}/$folder ] || count=$(ls ${serverHome}/$folder | wc -l)
  [ "\${count:-0}" = 0 ] || echo "$count $folder"; count=0
done
count=$(ls -A /workspace | grep -cv '^lost+found$') || true
[ "$count" = 0 ] || echo "$count files or folders in /workspace"`;

/** The server's container and its volumes, seen from the host's engine. */
export class ServerVolumes {
  private readonly helper: string;

  constructor(
    private readonly server: DeployedServer,
    private readonly report: Reporter,
    private readonly cancelSignal: AbortSignal,
  ) {
    this.helper = `${server.container}-volumes`;
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

  /** Whether the version in the server's image can use a state that this one has written. */
  async accepts(version: string): Promise<boolean> {
    const image = await this.inspect("{{.Image}}");
    const command = ["node", "/opt/gateway/server.cjs", "accepts", version];
    return this.docker(["run", "--rm", "--network", "none", image, ...command]).then(
      () => true,
      () => false,
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

  /** Stops the server for the time of `work`, and starts it again whatever happens. */
  async whileStopped<T>(work: () => Promise<T>): Promise<T> {
    const ran = (await this.inspect("{{.State.Running}}")) === "true";
    const began = Date.now();
    if (ran) {
      await this.report.step(
        "Stop the server: its sandboxes are stopped cleanly and start again afterwards",
        () => this.docker(["stop", this.server.container]),
      );
    }
    try {
      return await work();
    } finally {
      // Left over where the connection broke or the user cut it off.
      await this.docker(["rm", "--force", this.helper]).catch(() => undefined);
      if (ran) {
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
    const image = await this.inspect("{{.Image}}");
    const volumes = `${this.server.container}:${mode}`;
    return [
      ...["run", "--rm", "--init", ...flags, "--name", this.helper, "--network", "none", "--user", "0:0"],
      // The files may belong to another user than root, and an SELinux host labels them for the server.
      ...["--security-opt", "label=disable", "--log-driver", "none", "--volumes-from", volumes, image],
    ];
  }
}
