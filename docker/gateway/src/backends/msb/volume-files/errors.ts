import { diskFull, ServiceError } from "../../../errors";
import type { FilePath } from "../../../sandboxes/volume-files";

const shown = (path: FilePath) => JSON.stringify(path.toString("utf8").slice(0, 200));

export const invalidPath = (path: FilePath, why: string) =>
  new ServiceError("invalidPath", `${shown(path)} ${why}`);

/** Codes of errors that say that nothing is at a path. */
export const NOTHING_THERE = new Set(["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"]);

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException)?.code;

/** The error of a file system in terms of the service. */
export function translate(path: FilePath, error: unknown): unknown {
  if (error instanceof ServiceError) return error;
  const code = codeOf(error);
  switch (code) {
    case "ENOENT":
      return new ServiceError("fileNotFound", `no file or folder ${shown(path)}`);
    case "ENOTDIR":
    case "ELOOP":
      return invalidPath(path, "has a part that is not a folder; links are not followed");
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return invalidPath(path, `is not for the server to read or change (${code})`);
    case "EISDIR":
    case "EEXIST":
    case "ENOTEMPTY":
    case "EINVAL":
    case "EBUSY":
    case "ETXTBSY":
    case "ENAMETOOLONG":
    case "ENXIO":
    case "ENODEV":
    case "ENOTSUP":
    case "EOPNOTSUPP":
    case "EFBIG":
    case "EMLINK":
    case "EXDEV":
      return invalidPath(path, `can't be used so (${code})`);
    case "ENOSPC":
    case "EDQUOT":
      return diskFull();
    case "EMFILE":
    case "ENFILE":
    case "ENOMEM":
    case "EAGAIN":
      return new ServiceError("unavailable", `the server is short of something (${code})`, {
        retryAfterSeconds: 1,
      });
    case "EIO":
    case "ESTALE":
      return new ServiceError("runtimeFailed", `the server's disk failed (${code})`);
    case "ECONNRESET":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return new ServiceError("invalidRequest", "the content ended before it was complete");
    default:
      if (error instanceof Error && error.name === "AbortError")
        return new ServiceError("requestTimeout", "the request was cancelled before it finished", {
          cause: error,
        });
      return error;
  }
}
