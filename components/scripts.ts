import { readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** Folder of this package, relative to the program: a path that stays the same when the checkout moves. */
export const packageRoot = relative(process.cwd(), join(__dirname, "..")) || ".";

type ScriptName =
  | "kvm-check"
  | "preflight"
  | "boot-check"
  | "volume-owner"
  | "host-advice"
  | "send-image"
  | "push-image"
  | "pull-image"
  | "tls-authority"
  | "tls-certificate"
  | "upgrade"
  | "upgrade-done";

/**
 * A script that runs another one to its end whatever becomes of who has started it; scripts/outlive.sh tells how. The
 * inner one is told when its starter is gone: it can read from the pipe `$WORK/client` until then.
 *
 * @param inner whole lines; none of them is `END OF SCRIPT`
 */
export function outliving(inner: string): string {
  const outlive = readFileSync(join(__dirname, "scripts", "outlive.sh"), "utf8");
  return `work=$(mktemp -d)\ncat >"$work/script" <<'END OF SCRIPT'\n${inner}\nEND OF SCRIPT\n${outlive}`;
}

/** What some scripts share is put before them. */
const preludes: Partial<Record<ScriptName, string>> = {
  "kvm-check": "report",
  preflight: "report",
  "push-image": "registry-login",
  "pull-image": "registry-login",
};

/** Text of a script in components/scripts. It travels on standard input, so that it runs on any host as it is. */
export function script(name: ScriptName): string {
  const read = (file: string) => readFileSync(join(__dirname, "scripts", `${file}.sh`), "utf8");
  const before = preludes[name];
  return before ? `${read(before)}\n${read(name)}` : read(name);
}
