import { readdirSync, readFileSync } from "node:fs";
import type { NodeProgram } from "../gateway";

/** What a gateway's process holds. */
export type Held = Record<string, number>;

/** Figures of what is under way, and how many more than at first are no leak: what comes and goes. */
const FIGURES: [name: RegExp, slack: number][] = [
  [
    /^msb_gateway_(commands|connections_held|key_holds|pipes_open|pipe_buffer_bytes|body_bytes|requests_open)\b/,
    0,
  ],
  [/^nodejs_active_resources\{type="(TCPSocketWrap|PipeWrap|ProcessWrap|FSEventWrap)"\}/, 1],
  [/^nodejs_active_resources\{type="Timeout"\}/, 4],
];
const SLACK: Record<string, number> = { "child processes": 0, "file descriptors": 1 };

/** Reads it from the system, and from the text of the process's own figures. */
export function heldBy(program: NodeProgram, metrics: string): Held {
  const held: Held = {
    "file descriptors": program.openFiles(),
    "child processes": childrenOf(program.pid).length,
  };
  for (const line of metrics.split("\n")) {
    const at = line.lastIndexOf(" ");
    if (slackOf(line) !== undefined) held[line.slice(0, at)] = Number(line.slice(at + 1));
  }
  return held;
}

/** What is held now and was not at first. */
export const grown = (before: Held, now: Held): string[] =>
  Object.entries(now).flatMap(([what, count]) =>
    count > (before[what] ?? 0) + (SLACK[what] ?? slackOf(what) ?? 0)
      ? [`${what}: ${before[what] ?? 0} at first, ${count} now`]
      : [],
  );

const slackOf = (line: string): number | undefined => FIGURES.find(([name]) => name.test(line))?.[1];

/** The processes that a process has started and not yet waited for. */
function childrenOf(pid: number): number[] {
  const parentOf = (each: string): number => {
    try {
      const stat = readFileSync(`/proc/${each}/stat`, "utf8");
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    } catch {
      return 0; // Ended meanwhile.
    }
  };
  return readdirSync("/proc")
    .filter((each) => /^\d+$/.test(each) && parentOf(each) === pid)
    .map(Number);
}
