import { hash } from "node:crypto";
import type { Sandbox } from "./backend";
import { CompactSandbox, sizeFrom } from "./compact-sandbox";

/** Characters that stand for one label. */
const MARK = 12;

/**
 * What a copy of a backend's lists needs of a sandbox: who, where, how large and in which state. Nothing in it is as long
 * as a client likes: it has no spec, nothing of the image, and a mark instead of each label.
 */
export class SandboxRow extends CompactSandbox {
  constructor(
    sandbox: Sandbox,
    readonly marks = marksOf(labelsOf(sandbox)),
  ) {
    const bare = { ...sandbox, resolved: { reference: "", ...sizeOf(sandbox), labels: NONE }, failure: null };
    super(bare, sandbox, sandbox.version, null);
  }
}

const NONE: Record<string, string> = {};

/** What it takes of the limits of what runs. */
export function sizeOf({ spec, resolved }: Sandbox): CompactSandbox["size"] {
  const asked = spec && { vcpus: spec.resources.vcpus, memoryMib: spec.resources.memory_mib };
  return sizeFrom(asked, resolved);
}

/** The row as a server has sent it; one of an older version sends the whole sandbox. */
export const rowFrom = (sent: Sandbox & { marks?: string }): SandboxRow => new SandboxRow(sent, sent.marks);

/** A row in place of its sandbox, of which no more can be known. It is never the same as what it stands for. */
export const inPlaceOf = (row: SandboxRow): Sandbox => new CompactSandbox(row, row, Number.NaN, null);

/** Whether a sandbox has all of these labels, by its row. */
export function markFilter(labels: Record<string, string>): (row: SandboxRow) => boolean {
  const wanted = Object.entries(labels).map(markOf);
  return ({ marks }) => wanted.every((mark) => isAmong(marks, mark));
}

function isAmong(marks: string, mark: string): boolean {
  for (let at = 0; at < marks.length; at += MARK) if (marks.startsWith(mark, at)) return true;
  return false;
}

const labelsOf = ({ spec, resolved }: Sandbox): Record<string, string> =>
  spec?.labels ?? resolved?.labels ?? NONE;

const marksOf = (labels: Record<string, string>): string => Object.entries(labels).map(markOf).join("");

/** 72 bits of a hash: no two labels of a client share them but by its own work, in its own lists. */
const markOf = (label: [key: string, value: string]): string =>
  hash("sha256", JSON.stringify(label), "base64url").slice(0, MARK);
