import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { forProgram, programStack } from "../settings/message-commands";
import { shellQuote } from "../settings/shell";

/** Where Pulumi has started this process, and its plugins too. */
const startedIn = process.cwd();
let isPlugin = false;

/** Marks this process as a Pulumi plugin, which runs in the same folder as the other plugins. */
export function runAsPlugin(): void {
  isPlugin = true;
}

/**
 * Folder of this package, for Pulumi's plugins. Relative to where they run, a path stays the same when the checkout
 * moves; a program in another process (an inline one of the Automation API) can't know where that is.
 */
export function packageRoot(): string {
  const root = join(__dirname, "../..");
  return isPlugin || programStack() !== undefined ? relative(startedIn, root) || "." : root;
}

export type ScriptName =
  | "host/kvm-check"
  | "host/preflight"
  | "cluster/preflight"
  | "cluster/await-devices"
  | "cluster/grow-claims"
  | "server/boot-check"
  | "server/volume-owner"
  | "host/host-advice"
  | "image/send-image"
  | "image/registry-login"
  | "image/push-image"
  | "image/pull-image"
  | "server/tls-authority"
  | "server/tls-certificate"
  | "server/swap"
  | "server/upgrade"
  | "server/upgrade-done";

/**
 * A script that runs another one to its end even if its caller dies (server/outlive.sh). The inner script can detect that:
 * reading from the pipe `$WORK/client` blocks as long as the caller lives.
 *
 * @param inner whole lines; none of them is `END OF SCRIPT`
 */
export function outliving(inner: string): string {
  const outlive = read("server/outlive");
  return `work=$(mktemp -d)\ncat >"$work/script" <<'END OF SCRIPT'\n${inner}\nEND OF SCRIPT\n${outlive}`;
}

/** Functions that are put before a script: those that several share, and topics of a long one. */
const preludes: Partial<Record<ScriptName, string[]>> = {
  "host/kvm-check": ["host/report"],
  "host/preflight": ["host/report", "host/preflight-port"],
  "cluster/preflight": ["host/report", "cluster/kubectl"],
  "cluster/await-devices": ["host/report", "cluster/kubectl"],
  "cluster/grow-claims": ["cluster/kubectl"],
  "image/push-image": ["image/registry-login"],
  "image/pull-image": ["image/registry-login"],
  "server/boot-check": ["server/boots"],
  "server/upgrade": [
    ...["server/ready", "server/state-copies", "server/boots"],
    ...["server/at-work", "server/take-over"],
  ],
};

/** Text of a script below components/. It is passed on standard input, so nothing has to be installed on a host. */
export function script(name: ScriptName): string {
  // A container on the host runs these, so the script has them as text.
  const asText = name === "server/upgrade" ? [`swap_functions=${shellQuote(read("server/swap"))}`] : [];
  return forProgram([...asText, ...[...(preludes[name] ?? []), name].map(read)].join("\n"));
}

const read = (path: string) => readFileSync(join(__dirname, "..", `${path}.sh`), "utf8");
