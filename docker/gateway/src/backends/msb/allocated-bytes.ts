import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

/**
 * Bytes that a file, or a folder with all that is in it, takes on the disk; 0 for what is not there. It looks at one file
 * after the other: the few threads for files are everybody's.
 * @param counts whether what is in a folder counts, by its name. Default: everything does
 */
export async function allocatedBytes(
  path: string,
  counts: (name: string) => boolean = () => true,
): Promise<number> {
  try {
    const { blocks } = await lstat(path);
    let bytes = blocks * 512;
    const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!counts(entry.name)) continue;
      const inside = join(path, entry.name);
      bytes += entry.isDirectory() ? await allocatedBytes(inside, counts) : await fileBytes(inside);
    }
    return bytes;
  } catch {
    // Removed meanwhile, or never made.
    return 0;
  }
}

const fileBytes = (path: string): Promise<number> =>
  lstat(path).then(
    ({ blocks }) => blocks * 512,
    () => 0,
  );
