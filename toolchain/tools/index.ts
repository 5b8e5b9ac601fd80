import type { Reporter } from "../report";
import type { ToolStatus, Tools } from "./types";

export type { Origin, ToolName, ToolStatus, Tools } from "./types";

/** Makes every tool that is missing. */
export async function ensureTools(_report: Reporter): Promise<Tools> {
  throw new Error("ensureTools is not there yet");
}

/** Tells what is present; changes nothing. */
export async function inspectTools(): Promise<ToolStatus[]> {
  throw new Error("inspectTools is not there yet");
}
