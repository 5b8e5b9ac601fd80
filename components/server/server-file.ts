import { shellQuote } from "../settings/shell";
import { type StackFile, serverPath } from "./stack-files";

/**
 * A script for the host that replaces a file in the server's container atomically. Only the server's user may read the file,
 * and its text is in no command line.
 *
 * @param text whole lines; none of them is `END OF FILE`
 * @param then what the container does after it. @example "sleep 2"
 */
export function writeServerFile(container: string, file: StackFile, text: string, then = "true"): string {
  const path = serverPath(file);
  const write = [
    "umask 077",
    `mkdir -p "$(dirname ${path})"`,
    `cat >${path}.new`,
    `chmod 400 ${path}.new`,
    `mv -f ${path}.new ${path}`,
    then,
  ].join(" && ");
  return `docker exec --interactive ${shellQuote(container)} sh -c ${shellQuote(write)} <<'END OF FILE'\n${text}\nEND OF FILE\n`;
}
