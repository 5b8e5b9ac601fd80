import { existsSync, readdirSync, readFileSync, readlinkSync, statfsSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { projectName, stackName } from "../../setup/project";
import { backendFolder, findBackend } from "../backend";

/** Whether this process would see every process that can hold a lock in a folder. */
export type SeesAll = (folder: string) => boolean;

/**
 * Whether all locks of a stack in a backend that is a folder belong to processes of this machine that have ended. False
 * where that can't be known: the folder may be shared with another machine or container, whose processes are not seen.
 */
export function hasDeadLock(
  stack: string,
  folder = backendFolder(findBackend(stack)),
  seesAll: SeesAll = seesAllHolders,
): boolean {
  const files = lockFiles(stack, folder);
  if (folder === undefined || files.length === 0 || !seesAll(folder)) return false;
  const alive = pulumiPids();
  return files.map(ownerOf).every((owner) => owner?.hostname === hostname() && !alive.has(owner.pid));
}

/** The id of a pulumi process of this machine that works on a stack in a backend that is a folder, as far as is known. */
export function runningPulumi(stack: string, folder = backendFolder(findBackend(stack))): number | undefined {
  const files = lockFiles(stack, folder);
  if (files.length === 0) return undefined;
  const alive = pulumiPids();
  return files.map(ownerOf).find((owner) => owner?.hostname === hostname() && alive.has(owner.pid))?.pid;
}

function lockFiles(stack: string, folder: string | undefined): string[] {
  if (folder === undefined) return [];
  const locks = join(folder, ".pulumi/locks/organization", projectName(), stackName(stack));
  if (!existsSync(locks)) return [];
  return readdirSync(locks)
    .filter((file) => file.endsWith(".json"))
    .map((file) => join(locks, file));
}

/** The part of a lock file that is read. */
const lockOwner = z.object({ pid: z.number(), hostname: z.string() });

/** The holder of a lock; undefined if the file has another format or is gone: Pulumi's own message then says what to do. */
function ownerOf(file: string): z.infer<typeof lockOwner> | undefined {
  try {
    return lockOwner.safeParse(JSON.parse(readFileSync(file, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/** The first namespace of processes of a kernel: from there all others are seen. */
const FIRST_NAMESPACE = "pid:[4026531836]";

const OVERLAY = 0x794c7630;

/** File systems that one kernel alone has mounted: ext, xfs, btrfs, tmpfs, zfs, f2fs, bcachefs, overlay. */
const LOCAL = [0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x2fc12fc1, 0xf2f52010, 0xca451a4e, OVERLAY];

function seesAllHolders(folder: string): boolean {
  const { type } = statfsSync(folder);
  try {
    if (readlinkSync("/proc/self/ns/pid") === FIRST_NAMESPACE) return LOCAL.includes(type);
    // In a container: its own root, which no other container has.
    return type === OVERLAY && statSync(folder).dev === statSync("/").dev;
  } catch {
    return false;
  }
}

/** The ids of all pulumi processes, in their own namespace and in those around it: a container's lock tells its own. */
function pulumiPids(): Set<number> {
  const pids = new Set<number>();
  for (const process of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${process}/comm`, "utf8").startsWith("pulumi")) continue;
      const ids = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${process}/status`, "utf8"))?.[1] ?? process;
      for (const id of ids.trim().split(/\s+/)) pids.add(Number(id));
    } catch {
      // It has ended in the meantime.
    }
  }
  return pids;
}
