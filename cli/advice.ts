import { type Connection, hostShell } from "../components/host/connection";
import { script } from "../components/host/scripts";
import { exec } from "../setup/exec";

/** A weakness of a host that does not stop `up`, but matters if it runs other people's code. */
export interface Advice {
  what: string;
  /** What to type on the host. */
  remedy: string;
}

/** How to harden a host. Empty for a host that can't be reached: the other checks report why. */
export async function adviceFor(connection: Connection): Promise<Advice[]> {
  const { stdout } = await exec("sh", ["-c", hostShell(connection)], {
    input: script("host/host-advice"),
    reject: false,
  });
  return readAdvice(stdout ?? "");
}

/** Reads what components/host/host-advice.sh prints. */
export function readAdvice(stdout: string): Advice[] {
  const lines = stdout.split("\n").map((line) => line.split("\t"));
  return lines.flatMap(([what, remedy]) => (what && remedy ? [{ what, remedy }] : []));
}
