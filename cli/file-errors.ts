import { dirname } from "node:path";
import { UserError } from "../setup/user-error";

const REASONS: Record<string, string> = {
  EEXIST: "it exists",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is a file",
  EACCES: "this user has no permission",
  EPERM: "this user has no permission",
  EROFS: "its file system is read-only",
  ENOSPC: "the disk is full",
  ENAMETOOLONG: "its name is too long",
};

/** Why a file can't be written, for the user. @param expected what to name instead. @example "the name of a new file" */
export function cannotWrite(path: string, error: unknown, expected: string): UserError {
  const { code = "" } = error as NodeJS.ErrnoException;
  if (code === "ENOENT")
    return new UserError(
      `${path} can't be written: there is no folder ${dirname(path)}.\nTo make it: mkdir -p '${dirname(path)}'`,
    );
  return new UserError(`${path} can't be written: ${REASONS[code] ?? String(error)}.\nExpected: ${expected}`);
}

/** Why a file can't be read, for the user. @param expected which file it is. @example "a file written by npm run backup" */
export function cannotRead(path: string, error: unknown, expected: string): UserError {
  const { code = "" } = error as NodeJS.ErrnoException;
  const reason = code === "ENOENT" ? "it does not exist" : (REASONS[code] ?? String(error));
  return new UserError(`${path} can't be read: ${reason}.\nExpected: ${expected}`);
}
