import { writeFileSync } from "node:fs";
import { statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DiskReserve } from "../../../docker/gateway/src/limits/disk-reserve";
import { smallDisk } from "./volume-folder";

const MIB = 1024 * 1024;
const full = { kind: "diskFull" };

const disk = smallDisk("20m");

test.skipIf(!disk)(
  "below the reserve nothing may be added; at most a tenth of the disk is kept",
  async () => {
    const path = String(disk);
    const reserves = [0, MIB, 1024 * MIB].map((reserveBytes) => new DiskReserve({ path, reserveBytes }));
    const check = (now: number) => Promise.allSettled(reserves.map((reserve) => reserve.check(now)));
    const refused = async (now: number) => (await check(now)).map(({ status }) => status === "rejected");

    const { bavail, bsize } = await statfs(path);
    expect(await refused(0)).toEqual([false, false, false]);
    writeFileSync(join(path, "most"), Buffer.alloc(bavail * bsize - 1.5 * MIB));
    expect(await refused(999)).toEqual([false, false, false]);
    expect(await refused(1000)).toEqual([false, false, true]);
    writeFileSync(join(path, "rest"), Buffer.alloc(MIB));
    expect(await refused(2000)).toEqual([false, true, true]);
    await expect(reserves[1]?.check(2001)).rejects.toMatchObject(full);
    await unlink(join(path, "most"));
    expect(await refused(3000)).toEqual([false, false, false]);
  },
);

const fewFiles = smallDisk("64m", ",nr_inodes=400");

test.skipIf(!fewFiles)(
  "a tenth of the files of a disk is kept free as well, whatever room there is",
  async () => {
    const path = String(fewFiles);
    const [kept, none] = [MIB, 0].map((reserveBytes) => new DiskReserve({ path, reserveBytes }));
    let made = 0;
    const fill = async (free: number) => {
      for (let left = (await statfs(path)).ffree; left > free; left--)
        writeFileSync(join(path, `f${made++}`), "");
    };
    await fill(40);
    await expect(kept?.check(0)).resolves.toBeUndefined();
    await fill(39);
    await expect(kept?.check(1000)).rejects.toMatchObject({
      ...full,
      message: expect.stringContaining("files"),
    });
    await expect(none?.check(1000)).resolves.toBeUndefined();
    await unlink(join(path, "f0"));
    await expect(kept?.check(2000)).resolves.toBeUndefined();
  },
);

test("a disk that can't be asked is not full", async () => {
  const reserve = new DiskReserve({ path: "/nonexistent", reserveBytes: MIB });
  await expect(reserve.check()).resolves.toBeUndefined();
});
