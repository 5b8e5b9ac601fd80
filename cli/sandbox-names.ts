import { UserError } from "../setup/user-error";

/** A sandbox or a volume of a server, by all that people call it. */
export interface Named {
  /** The API's id; undefined for one that the server has not heard of yet. */
  id?: string;
  /** Its client's name; two owners may each have one of that name. */
  name: string;
  /** Id of the key that made it; null for one made with msb itself. */
  owner: string | null;
  /** msb's own name of it. */
  handle: string;
}

/** A sandbox as `msb ls --format json` has it. */
export interface MsbRow {
  name: string;
  status: string;
  created_at?: string;
  image?: string;
}

/** What the server knows of the sandboxes or volumes that msb has, in msb's order. */
export function namesOf(rows: readonly { name: string }[], records: readonly Named[]): Named[] {
  const byHandle = new Map(records.map((record) => [record.handle, record]));
  return rows.map(({ name }) => byHandle.get(name) ?? { name, owner: null, handle: name });
}

/**
 * msb's name of what is meant by an id, a client's name, or msb's name.
 * The word itself where nothing bears it: msb says so in its own words.
 * @throws UserError where several bear it
 */
export function handleOf(word: string, known: readonly Named[], what = "sandboxes"): string {
  const meant = known.find(({ id }) => id === word);
  if (meant) return meant.handle;
  const [one, ...others] = known.filter(({ name, handle }) => name === word || handle === word);
  if (!one) return word;
  if (others.length === 0) return one.handle;
  const lines = [one, ...others].map(({ id, handle, owner }) => `  ${id ?? handle}  ${ownerText(owner)}`);
  throw new UserError(`Several ${what} are called ${word}. Use the id of one:\n${lines.join("\n")}`);
}

const ownerText = (owner: string | null): string =>
  owner === null ? "created with msb" : `created with the key ${owner}`;

const several = ["--label"];
const guest = ["-e", "--env", "-w", "--workdir", "-u", "--user"];
const job = ["--job"];

/** msb's commands whose arguments are sandboxes, with their options that take a value: those of 0.6.18 and 0.7.11. */
const valueOptions: Record<string, string[]> = {
  exec: [...guest, "--timeout", "--rlimit"],
  start: several,
  stop: [...several, "-t", "--timeout"],
  restart: [...several, "-t", "--timeout"],
  remove: several,
  ping: several,
  touch: several,
  pause: ["--guest-flush"],
  resume: [],
  wait: [...job, "-t", "--timeout", "--format"],
  status: [...several, "--format"],
  metrics: ["--format", "--interval", "--sort"],
  logs: [...job, "--tail", "--since", "--until", "--source", "--grep", "--color"],
  inspect: [...job, "--format"],
  jobs: ["--limit", "--cursor", "--format"],
  attach: job,
  signal: [...job, "--signal"],
  kill: job,
  eof: job,
  copy: [],
  ssh: ["-n", "--name", "--inactivity-timeout"],
  modify: [
    ...["--layers", "--disk", "-c", "--cpus", "--max-cpus", "-m", "--memory", "--max-memory", "--root-disk"],
    ...["-e", "--env", "--env-rm", "--label", "--label-rm", "-w", "--workdir", "--secret", "--secret-rm"],
    ...["-p", "--port", "--port-rm", "--format"],
  ],
};
/** Those that take more than one. */
const manyNames = ["start", "stop", "restart", "remove", "ping", "touch", "copy"];
const aliases: Record<string, string> = { cp: "copy", rm: "remove", mod: "modify", ps: "status" };

/** Where in msb's words sandboxes are named; none where that command names none. */
export function namePositions(words: readonly string[]): number[] {
  const start = words[0] === "sandbox" || words[0] === "sbx" ? 1 : 0;
  const command = words[start] ?? "";
  const name = Object.hasOwn(aliases, command) ? aliases[command] : command;
  const taking = name !== undefined && Object.hasOwn(valueOptions, name) ? valueOptions[name] : undefined;
  if (!taking) return [];
  const positions: number[] = [];
  for (let at = start + 1; at < words.length && words[at] !== "--"; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-") || word === "-") positions.push(at);
    else if (takesNext(word, [...taking, "-L", "--levels"])) at++;
  }
  return manyNames.includes(name ?? "") ? positions : positions.slice(0, 1);
}

/** Whether the word after an option is its value: not in `--user=root`, `-uroot`, and in `-tu root`. */
function takesNext(word: string, taking: readonly string[]): boolean {
  if (word.startsWith("--")) return taking.includes(word);
  const letters = [...word.slice(1)];
  return letters.findIndex((letter) => taking.includes(`-${letter}`)) === letters.length - 1;
}

/** msb's words with its own names of the sandboxes that are meant. @throws UserError where a name is not enough */
export function withHandles(words: readonly string[], sandboxes: readonly Named[]): string[] {
  const translated = [...words];
  for (const at of namePositions(words)) {
    // `copy` takes NAME:/path, and paths of the server.
    const [, name = "", path = ""] = /^([^/]*?)(:.*)?$/s.exec(words[at] ?? "") ?? [];
    if (name !== "") translated[at] = handleOf(name, sandboxes) + path;
  }
  return translated;
}

/** The sandboxes as a table. */
export function sandboxTable(rows: readonly MsbRow[], sandboxes: readonly Named[]): string {
  if (rows.length === 0) return "No sandboxes found.";
  const cells = rows.map(({ status, created_at, image }, index) => {
    const { id, name = "-", owner } = sandboxes[index] ?? {};
    return [name, status, owner ?? "-", image ?? "-", minuteOf(created_at), id ?? "-"];
  });
  return textTable([["NAME", "STATUS", "OWNER", "IMAGE", "CREATED (UTC)", "ID"], ...cells]);
}

/** Rows of cells, the columns one below the other. */
export function textTable(rows: readonly string[][]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: string[]) => row.map((cell = "", column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

/** When msb made something, for people. */
export const minuteOf = (createdAt: string | undefined): string =>
  createdAt?.slice(0, 16).replace("T", " ") ?? "-";
