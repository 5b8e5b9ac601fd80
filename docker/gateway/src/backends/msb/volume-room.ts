import type { FileCaller } from "../../sandboxes/volume-files";
import type { FolderBytes } from "./folder-bytes";
import type { ByteQuota } from "./volume-files/byte-quota";
import type { VolumeIndex, VolumeLimits } from "./volume-index";
import type { VolumeRecord } from "./volume-record";

export type VolumeRoomOptions = { index: VolumeIndex; bytes: FolderBytes; limits: VolumeLimits };

/** What may be written into a volume: what is taken of it counts at once, what was freed with the next measure. */
export function volumeRoom(
  { id, owner }: VolumeRecord,
  caller: FileCaller,
  { index, bytes, limits }: VolumeRoomOptions,
): ByteQuota {
  const freed = () => bytes.note({ id, owner });
  const whileWriting: ByteQuota["whileWriting"] = async (work) => {
    const most = caller.owner === owner ? await caller.mostBytes?.() : undefined;
    let taken = 0;
    const check = (more: number) => index.checkBytes(owner, more, limits, most);
    const take = async (more: number) => {
      try {
        check(more);
      } catch {
        await bytes.settle(owner);
        // No await between this and the sum.
        check(more);
      }
      index.writing(id, more);
      taken += more;
    };
    try {
      const result = await work(take);
      index.written(id, taken);
      return result;
    } catch (error) {
      index.writing(id, -taken);
      throw error;
    } finally {
      freed();
    }
  };
  return { freed, whileWriting };
}
