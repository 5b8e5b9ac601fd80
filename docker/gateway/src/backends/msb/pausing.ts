import { ServiceError } from "../../errors";
import { isUp } from "../../sandboxes/states";
import { isBefore07 } from "./command-line";
import type { Entry } from "./sandbox-index";
import { isPaused } from "./sandbox-record";
import { statusOf } from "./sandbox-view";

/** @throws ServiceError unsupported where this server's msb can't pause */
export async function checkPauses(msbVersion: () => Promise<string>): Promise<void> {
  if (isBefore07(await msbVersion()))
    throw new ServiceError("unsupported", "pauses need microsandbox 0.7 on the server");
}

/** Whether it runs or is paused, and is to stay so. @throws ServiceError conflict */
export function checkUp(entry: Entry): void {
  const { state, desired } = entry.record;
  if (isUp(state) && (desired === "running" || desired === "paused")) return;
  throw conflict(
    entry,
    `is ${statusOf(entry)}: only one that runs can be paused, and only one that is paused resumed`,
  );
}

/** Whether its agent can be talked to. @throws ServiceError conflict */
export function checkReachable(entry: Entry): void {
  const { id, desired } = entry.record;
  if (isPaused(entry.record)) throw conflict(entry, `is paused; resume it: POST /v1/sandboxes/${id}/resume`);
  const status = statusOf(entry);
  if (status !== "running") throw conflict(entry, `is ${status}`);
  if (desired === "paused") throw conflict(entry, "is about to be paused");
}

const conflict = ({ record: { name } }: Entry, why: string) =>
  new ServiceError("conflict", `the sandbox ${JSON.stringify(name)} ${why}`);
