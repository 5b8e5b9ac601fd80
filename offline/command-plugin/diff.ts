import { contentHash, isObject, isSpecial, type Properties, type Property } from "./properties";

export type Change = "ADD" | "DELETE" | "UPDATE";
/** Changed property paths (`triggers[0]`, `environment.HOME`) and what happened to each. */
export type Changes = Map<string, Change>;

/** Compares two sets of inputs, down to the innermost value that differs. */
export function diffInputs(olds: Properties, news: Properties): Changes {
  const changes: Changes = new Map();
  diffMaps("", olds, news, changes);
  return changes;
}

/** The input that a property path starts with. */
export function inputOf(path: string): string {
  return path.split(/[.[]/, 1)[0] ?? path;
}

function diffMaps(prefix: string, olds: Properties, news: Properties, changes: Changes): void {
  for (const key of new Set([...Object.keys(olds), ...Object.keys(news)])) {
    diffValues(childPath(prefix, key), olds[key], news[key], changes);
  }
}

function diffValues(
  path: string,
  before: Property | undefined,
  after: Property | undefined,
  changes: Changes,
) {
  if (before === undefined || before === null) {
    if (after !== undefined && after !== null) changes.set(path, "ADD");
  } else if (after === undefined || after === null) {
    changes.set(path, "DELETE");
  } else if (Array.isArray(before) && Array.isArray(after)) {
    const longest = Math.max(before.length, after.length);
    for (let i = 0; i < longest; i++) diffValues(`${path}[${i}]`, before[i], after[i], changes);
  } else if (isObject(before) && isObject(after) && !isSpecial(before) && !isSpecial(after)) {
    diffMaps(path, before, after, changes);
  } else if (!equal(before, after)) {
    changes.set(path, "UPDATE");
  }
}

/** Deep equality; assets and archives are equal when their contents are, wherever the files lie. */
function equal(a: Property | undefined, b: Property | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => equal(item, b[i]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const hash = contentHash(a);
  if (hash !== undefined && contentHash(b) !== undefined) return hash === contentHash(b);
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && equal(a[key], b[key]));
}

function childPath(prefix: string, key: string): string {
  if (/^[^."[\]]+$/.test(key)) return prefix === "" ? key : `${prefix}.${key}`;
  return `${prefix}[${JSON.stringify(key)}]`;
}
