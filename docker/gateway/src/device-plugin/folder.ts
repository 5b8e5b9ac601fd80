import { createHash, randomBytes } from "node:crypto";
import { accessSync, constants, readdirSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { ConfigError } from "../errors";

const KUBELET = "kubelet.sock";

export const kubeletPath = (folder: string): string => join(folder, KUBELET);

/** What tells one socket of the kubelet from the next, which may have the same inode number; undefined for none. */
export function kubeletSocket(folder: string): string | undefined {
  const stat = statSync(kubeletPath(folder), { throwIfNoEntry: false, bigint: true });
  return stat?.isSocket() ? `${stat.dev}:${stat.ino}:${stat.birthtimeNs}` : undefined;
}

const prefixOf = (resource: string): string =>
  `kvm-${createHash("sha256").update(resource).digest("hex").slice(0, 8)}-`;

/**
 * A name for a socket that nobody else has or had. A kubelet that is told of a name which it still holds a connection
 * to refuses it, and may do so until it is restarted.
 */
export const newSocketName = (resource: string): string =>
  `${prefixOf(resource)}${randomBytes(4).toString("hex")}.sock`;

/** Removes the sockets of plugins for this resource that were killed: those that nobody listens on. */
export async function removeDeadSockets(folder: string, resource: string): Promise<void> {
  const ours = readdirSync(folder).filter((name) => name.startsWith(prefixOf(resource)));
  for (const name of ours) if (await isDead(join(folder, name))) rmSync(join(folder, name), { force: true });
}

const isDead = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    const end = (dead: boolean) => {
      socket.destroy();
      resolve(dead);
    };
    socket.once("connect", () => end(false));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code === "ECONNREFUSED"));
  });

/** @throws ConfigError if this is not a folder of a kubelet that sockets can be made in */
export function checkFolder(folder: string): void {
  const stat = statSync(folder, { throwIfNoEntry: false });
  const expected =
    "This program runs on a Kubernetes node, in a pod that mounts that folder of the node (a hostPath volume).\n" +
    `On the node, this shows it: ls -ld ${folder}`;
  if (!stat?.isDirectory())
    throw new ConfigError(`${folder} is ${stat ? "no folder" : "not there"}. ${expected}`);
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const readOnly = (error as NodeJS.ErrnoException).code === "EROFS";
    const owner = `it belongs to user ${stat.uid}, group ${stat.gid}, mode ${(stat.mode & 0o7777).toString(8)}`;
    throw new ConfigError(
      readOnly
        ? `${folder} is mounted read-only: set readOnly to false for it in the pod's volumeMounts.`
        : `User ${process.getuid?.()} may not write in ${folder}: ${owner}.\n` +
            `Run the pod as its owner: securityContext.runAsUser: ${stat.uid}. No capability is needed.`,
    );
  }
}
