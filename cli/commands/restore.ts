import { pipeline } from "node:stream/promises";
import { createReporter, type Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { type Archive, type VolumeEntry, verifyArchive, volumeEntries } from "../backup/archive";
import { clearScript, commitScript, restoredName, roomScript, unpackScript } from "../backup/volume-scripts";
import { ServerVolumes } from "../backup/volumes";
import { interruptible } from "../interruption";
import { mebibytes } from "./backup";
import { deployedServer, type ServerSelection } from "./sandbox";

export interface RestoreOptions extends ServerSelection {
  /** Whether what the stack has may be replaced. */
  force?: boolean;
  /** Whether the keys of the backup replace the stack's own. */
  keys?: boolean;
}

/**
 * `npm run restore -- FILE`: the volumes of a backup in the place of a deployed stack's. They are unpacked beside
 * what is there, which goes only when all of it has arrived. Cut off before, it leaves what was there; cut off after, it is
 * ended by itself, or by the same command again.
 */
export async function restore(file: string, options: RestoreOptions): Promise<void> {
  const report = createReporter();
  let far = 0;
  const check = () =>
    verifyArchive(file, (bytes) => {
      far = bytes;
    });
  const archive = await report.step(`Check ${file}`, check, () => mebibytes(far));
  const { manifest } = archive;
  report.say(
    `Made ${manifest.createdAt} from stack ${manifest.stack}: microsandbox ${manifest.version}, ${manifest.architecture}.`,
  );
  const server = await deployedServer(options, report);
  await interruptible((signal) => {
    const volumes = new ServerVolumes(server, report, signal);
    return volumes.alone(() => restoreInto(volumes, archive, { ...options, ...server, report, signal }));
  });
}

/** Puts a backup in the place of what a server has. @throws UserError where it failed or was interrupted, or does not fit */
export async function restoreInto(
  volumes: ServerVolumes,
  archive: Archive,
  how: Pick<RestoreOptions, "force" | "keys"> & { stack: string; report: Reporter; signal: AbortSignal },
): Promise<void> {
  const { stack, report, signal } = how;
  await refuse(archive, volumes, how);
  const copy = restoredName(new Date());
  const clear = () => volumes.run("rw", clearScript);
  await volumes.whileStopped(
    async (stayedStopped) => {
      // One that was cut off first.
      await volumes.finishSwap();
      await clear();
      for (const name of volumeEntries) await unpack(name);
      const user = await volumes.inspect("{{.Config.User}}");
      await stayedStopped();
      await volumes.run("rw", commitScript(copy, !how.keys, user));
      await volumes.finishSwap();
    },
    async () => {
      await volumes.finishSwap();
      // The next one tries it again.
      await clear().catch((error: Error) => report.say(`What was unpacked is left: ${error.message}`));
    },
  );
  report.say(`Restored into stack ${stack}. Sandboxes that ran at the time of the backup start again.`);
  if (how.keys)
    report.say(
      "The server takes the keys of the backup until the stack writes its own: with the next replacement of the container " +
        `or change of a key.\nTo give clients keys of the stack before: npm run keys -- add ID --stack ${stack}`,
    );

  async function unpack(name: VolumeEntry): Promise<void> {
    let size = 0;
    const write = async () => {
      const { stdin, stdout, ended } = await volumes.beside("rw", unpackScript(name, copy));
      stdout.resume();
      const source = archive.read(name);
      source.on("data", (chunk) => {
        size += chunk.length;
      });
      // An error of the other process has the better message.
      await pipeline(source, stdin).catch(() => undefined);
      const { ok, stderr } = await ended;
      if (signal.aborted) throw signal.reason;
      if (!ok) throw new UserError(`${name} could not be unpacked on the host: ${stderr.trim()}`);
    };
    await report.step(`Unpack ${name}`, write, () => mebibytes(size));
  }
}

/** @throws UserError where the backup does not fit the stack, before anything is touched */
async function refuse(
  { manifest }: Archive,
  volumes: ServerVolumes,
  { stack, force }: Pick<RestoreOptions, "force"> & { stack: string },
): Promise<void> {
  const architecture = await volumes.docker(["version", "--format", "{{.Server.Arch}}"]);
  if (architecture !== manifest.architecture)
    throw new UserError(
      `The backup is of a host with ${manifest.architecture}, the host of stack ${stack} is ${architecture}: ` +
        "images and disks of sandboxes would not run there.\nExpected: a stack on a host of the same architecture.",
    );
  if (!(await volumes.accepts(manifest.version)))
    throw new UserError(
      `The backup was written by microsandbox ${manifest.version}, newer than that of stack ${stack}, which would damage it.\n` +
        `First: npm run pulumi -- config set version ${manifest.version} --stack ${stack} && npm run up -- --stack ${stack}`,
    );
  const content = await volumes.content();
  if (content.length > 0 && !force)
    throw new UserError(
      `Stack ${stack} is not empty, it has: ${content.join(", ")}.\n` +
        "To replace it with the backup: the same command with --force (to back it up first: npm run backup -- FILE)",
    );
  // An older backup does not say what it takes: at least as much as it has itself.
  const size = (name: VolumeEntry) => manifest.files[name].unpackedBytes ?? manifest.files[name].bytes;
  const needed = { "state.tar.zst": size("state.tar.zst"), "workspace.tar.zst": size("workspace.tar.zst") };
  const missing = await volumes.run("ro", roomScript(needed));
  if (missing)
    throw new UserError(
      `Not enough disk space on the host of stack ${stack} for the backup beside what is there: ${missing}.\n` +
        "Nothing was changed. Free some space there, then run the same command again.",
    );
}
