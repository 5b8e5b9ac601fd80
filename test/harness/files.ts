import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** All files below a folder by their paths there, with their text; of a link, the word `link`. */
export function filesBelow(folder: string): Record<string, string> {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    found
      .filter((each) => !each.isDirectory())
      .map((each) => {
        const file = join(each.parentPath, each.name);
        return [relative(folder, file), each.isSymbolicLink() ? "link" : readFileSync(file, "utf8")];
      }),
  );
}
