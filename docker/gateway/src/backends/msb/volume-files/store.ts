import { join } from "node:path";
import { DiskReserve } from "../../../limits/disk-reserve";
import type { Owner } from "../../../sandboxes/scope";
import type { FileCaller, VolumeFiles } from "../../../sandboxes/volume-files";
import { type ByteQuota, NO_QUOTA } from "./byte-quota";
import { codeOf, NOTHING_THERE } from "./errors";
import { MsbVolumeFiles } from "./msb-volume-files";
import { emptyTree, openToEmpty } from "./remove-tree";
import { Staging } from "./staging";
import { FileTurns } from "./turns";

export type VolumeFileStoreOptions = {
  /** msb's home: the volumes of a name are below it. */
  home: string;
  /** The folder of the shared volume, which is a mount of its own. */
  workspace: string;
  /** Bytes of each of the two disks that are to stay free. */
  reserveBytes: number;
};

/** Name of the folder in the workspace where files are while they are being written. */
export const WORKSPACE_STAGING = ".msb-uploads";

/** The files of all volumes of this server. */
export class VolumeFileStore {
  private readonly staging: Staging;
  private readonly workspaceStaging: Staging;
  private readonly turns = new FileTurns();
  readonly disk: DiskReserve;
  private readonly workspaceDisk: DiskReserve;

  constructor(private readonly options: VolumeFileStoreOptions) {
    const { home, workspace, reserveBytes } = options;
    this.staging = new Staging(join(home, "gateway"), "uploads");
    this.workspaceStaging = new Staging(workspace, WORKSPACE_STAGING);
    this.disk = new DiskReserve({ path: home, reserveBytes });
    this.workspaceDisk = new DiskReserve({ path: workspace, reserveBytes });
  }

  /** The files of a volume that msb keeps in that folder. */
  named(root: string, caller: FileCaller, room: ByteQuota): VolumeFiles {
    const { staging, disk } = this;
    return new MsbVolumeFiles({ root, staging, disk, room, turns: this.turns.of(caller) });
  }

  workspace(caller: FileCaller): VolumeFiles {
    return new MsbVolumeFiles({
      root: this.options.workspace,
      staging: this.workspaceStaging,
      stagingInside: true,
      disk: this.workspaceDisk,
      room: NO_QUOTA,
      turns: this.turns.of(caller),
    });
  }

  /**
   * Removes all that is in a volume's folder, however deep; nothing where there is no such folder. Some volumes are
   * emptied at once, the others wait.
   */
  empty(root: string, owner: Owner): Promise<void> {
    return this.turns.removal(owner, async (turn) => {
      const folder = await openToEmpty(root).catch((error) => {
        if (!NOTHING_THERE.has(codeOf(error) ?? "")) throw error;
      });
      if (folder) await emptyTree(folder, turn);
    });
  }

  /** Removes what uploads left that a crash interrupted. */
  async clean(): Promise<void> {
    await this.staging.clean();
    await this.workspaceStaging.clean();
  }
}
