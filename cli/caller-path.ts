import { resolve } from "node:path";

/** A path as its user meant it: npm runs scripts in the checkout, and says where it was called. */
export const callerPath = (path: string): string => resolve(process.env.INIT_CWD ?? process.cwd(), path);
