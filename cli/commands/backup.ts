import { resolve } from "node:path";
import { createReporter, type Reporter } from "../../setup/report";
import { UserError } from "../../setup/user-error";
import { ArchiveWriter, type VolumeEntry, volumeEntries } from "../backup/archive";
import type { Manifest } from "../backup/manifest";
import { finishHalfScript, packScript, sizeScript } from "../backup/volume-scripts";
import { ServerVolumes } from "../backup/volumes";
import { interruptible } from "../interruption";
import { deployedServer, type ServerSelection } from "./sandbox";

/**
 * `npm run backup -- FILE`: both volumes of a server in one file. It is written as it arrives; nothing is kept in
 * between. The server is stopped meanwhile: disks of running sandboxes can't be copied in one piece.
 */
export async function backup(file: string, asked: ServerSelection): Promise<void> {
  const report = createReporter();
  const server = await deployedServer(asked, report);
  await interruptible((signal) => {
    const volumes = new ServerVolumes(server, report, signal);
    return volumes.alone(() => backupOf(volumes, file, { ...server, report, signal }));
  });
}

/** Writes a backup of a server. @throws UserError where it failed or was interrupted: there is no file then */
export async function backupOf(
  volumes: ServerVolumes,
  file: string,
  { stack, report, signal }: { stack: string; report: Reporter; signal: AbortSignal },
): Promise<void> {
  const version = await volumes.inspect('{{index .Config.Labels "io.microsandbox.version"}}');
  const format = "{{.Server.Version}} {{.Server.Arch}}";
  const [engine = "", architecture = ""] = (await volumes.docker(["version", "--format", format])).split(" ");
  const path = resolve(file);
  const archive = await ArchiveWriter.open(path);
  try {
    // Half of a restore that was cut off is no state to keep.
    const makeWhole = () => volumes.finishSwap(finishHalfScript());
    const files = await volumes.whileStopped(async (stayedStopped) => {
      await makeWhole();
      const written = {} as Manifest["files"];
      for (const name of volumeEntries) written[name] = await pack(name);
      await stayedStopped();
      return written;
    }, makeWhole);
    const createdAt = new Date().toISOString();
    await archive.finish({
      format: 1,
      createdAt,
      stack,
      version,
      architecture,
      engine,
      files,
    });
    const bytes = volumeEntries.reduce((sum, name) => sum + files[name].bytes, 0);
    report.say(`Backed up stack ${stack} (microsandbox ${version}, ${architecture}): ${mebibytes(bytes)}`);
    report.say(`  ${path}\nTo restore it: npm run restore -- ${file}`);
  } catch (error) {
    await archive.discard();
    throw error;
  }

  async function pack(name: VolumeEntry): Promise<Manifest["files"][VolumeEntry]> {
    let size = 0;
    const write = async () => {
      const { stdin, stdout, ended } = await volumes.beside("ro", packScript(name));
      stdin.end();
      const written = await archive.add(name, stdout, (bytes) => {
        size = bytes;
      });
      const { ok, stderr } = await ended;
      if (signal.aborted) throw signal.reason;
      if (!ok) throw new UserError(`${name} could not be read on the host: ${stderr.trim()}`);
      return { ...written, unpackedBytes: Number(await volumes.run("ro", sizeScript(name))) };
    };
    return report.step(`Copy ${name}`, write, () => mebibytes(size));
  }
}

/** @example "12 MiB" */
export const mebibytes = (bytes: number): string =>
  `${(bytes / 1024 / 1024).toFixed(bytes < 10_485_760 ? 1 : 0)} MiB`;
