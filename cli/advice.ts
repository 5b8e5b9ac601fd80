import { type Connection, hostShell } from "../components/host/connection";
import { script } from "../components/host/scripts";
import { exec } from "../setup/exec";

/** Something of a host that `up` can live with, and that people who run other people's code should know. */
export interface Advice {
  what: string;
  /** What to type on the host. */
  remedy: string;
}

/** What would make a host safer. A host that can't be asked gets none: the other checks say why. */
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
