import { expect, it } from "vitest";
import type { VolumeFiles } from "../clients/session";
import { limit, type Shared } from "./conformance-shared";

/** Cases of a volume that is mounted at /data of the running sandbox, for the clients that can mount. */
export function mountCases(shared: Shared): void {
  if (!shared.client.mounts) return;

  it("shares a volume's files with the sandbox that has it mounted", limit, async () => {
    const { session, sandbox } = shared;
    const files = filesOf(shared);
    await files.write("from-outside.txt", "hello from outside");
    const read = await session.exec(sandbox, ["cat", "/data/from-outside.txt"]);
    expect(read.stdout).toBe("hello from outside");

    const script = "echo hello from inside > /data/from-inside.txt && sync";
    expect(await session.exec(sandbox, ["sh", "-c", script])).toMatchObject({ exitCode: 0 });
    expect(await files.read("from-inside.txt")).toBe("hello from inside\n");
  });

  it("does not remove a volume that is in use", limit, async () => {
    const { session, volume } = shared;
    await expect(session.removeVolume(volume)).rejects.toThrow(/in use/);
    expect(await session.volumes()).toContain(volume);
  });
}

/** Cases of a volume that no sandbox uses any more. The last one removes it. */
export function volumeCases(shared: Shared): void {
  it("lists volumes, and takes no name twice", limit, async () => {
    const { session, volume } = shared;
    expect(await session.volumes()).toContain(volume);
    await expect(session.createVolume(volume)).rejects.toThrow(/exist/);
  });

  if (shared.client.mounts) {
    it("handles the files of a volume without a sandbox", limit, async () => {
      const files = filesOf(shared);
      expect(await files.read("from-inside.txt")).toBe("hello from inside\n");
      await files.mkdir("folder");
      await files.copy("from-outside.txt", "folder/copy.txt");
      await files.rename("folder/copy.txt", "folder/renamed ä.txt");
      expect(await files.list("folder")).toEqual(["folder/renamed ä.txt"]);
      expect(await files.size("folder/renamed ä.txt")).toBe("hello from outside".length);
      await files.removeFile("folder/renamed ä.txt");
      await files.removeFolder("folder");
      expect(await files.exists("folder")).toBe(false);
      expect(await files.list("")).toEqual(["from-inside.txt", "from-outside.txt"]);
      await expect(files.read("missing.txt")).rejects.toThrow(/no file/);
      await expect(files.read("../../etc/passwd")).rejects.toThrow();
    });
  }

  it("removes a volume", limit, async () => {
    const { session, volume } = shared;
    await session.removeVolume(volume);
    expect(await session.volumes()).not.toContain(volume);
    await expect(session.removeVolume(volume)).rejects.toThrow(/not found/i);
  });
}

function filesOf({ session, volume }: Shared): VolumeFiles {
  if (!session.volumeFiles) throw new Error("this client has no file operations on volumes");
  return session.volumeFiles(volume);
}
