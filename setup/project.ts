import { join } from "node:path";

/** Folder of this checkout. */
export const projectRoot = join(__dirname, "..");
