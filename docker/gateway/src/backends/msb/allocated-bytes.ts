import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/** Bytes that a file, or a folder with all that is in it, takes on the disk; 0 for what is not there. */
export async function allocatedBytes(path: string): Promise<number> {
  try {
    const { blocks } = await lstat(path);
    const names = await readdir(path).catch(() => []);
    const sizes = await Promise.all(names.map((name) => allocatedBytes(join(path, name))));
    return sizes.reduce((sum, size) => sum + size, blocks * 512);
  } catch {
    // Removed meanwhile, or never made.
    return 0;
  }
}
