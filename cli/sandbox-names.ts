import { UserError } from "../setup/user-error";

/** A sandbox or a volume of a server with all its names. */
export interface Named {
  /** The API's id; undefined for one that the server does not know yet. */
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

/** Adds the server's names to the sandboxes or volumes of msb, in msb's order. */
export function namesOf(rows: readonly { name: string }[], records: readonly Named[]): Named[] {
  const byHandle = new Map(records.map((record) => [record.handle, record]));
  return rows.map(({ name }) => byHandle.get(name) ?? { name, owner: null, handle: name });
}

/**
 * Translates an id or a client's name to msb's name. Unknown names are returned as they are: msb reports them.
 * @throws UserError where several have it
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

/** msb's commands that take one sandbox, and those that take several. */
const oneName = [
  ...["exec", "pause", "resume", "wait", "status", "ps", "metrics", "logs", "inspect", "jobs", "attach"],
  ...["signal", "kill", "eof", "ssh", "modify", "mod"],
];
const manyNames = ["start", "stop", "restart", "remove", "rm", "ping", "touch", "copy", "cp"];

/** Their options whose value could look like the name of a sandbox. */
const withValue = [
  ...["-e", "--env", "-w", "--workdir", "-u", "--user", "-n", "--name", "--job", "--grep", "--source"],
  ...["--label", "--label-rm", "--env-rm", "--secret", "--secret-rm"],
];

/**
 * Positions of arguments that may name a sandbox: neither an option nor the value of a known option. Empty for commands that
 * take no sandbox.
 */
export function namePositions(words: readonly string[]): number[] {
  const start = verbAt(words);
  const verb = words[start] ?? "";
  if (![...oneName, ...manyNames].includes(verb)) return [];
  const positions: number[] = [];
  for (let at = start + 1; at < words.length && words[at] !== "--"; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-") || word === "-") positions.push(at);
    else if (takesNext(word)) at++;
  }
  return positions;
}

const verbAt = (words: readonly string[]) => (words[0] === "sandbox" || words[0] === "sbx" ? 1 : 0);

/** Whether the word after an option is its value: not in `--user=root`, `-uroot`, and in `-tu root`. */
function takesNext(word: string): boolean {
  if (word.startsWith("--")) return withValue.includes(word);
  const letters = [...word.slice(1)];
  return letters.findIndex((letter) => withValue.includes(`-${letter}`)) === letters.length - 1;
}

/** Arguments for msb, with its own names of sandboxes. @throws UserError where a name is not enough */
export function withHandles(words: readonly string[], sandboxes: readonly Named[]): string[] {
  const translated = [...words];
  const isKnown = (word: string) =>
    sandboxes.some(({ id, name, handle }) => [id, name, handle].includes(word));
  // `copy` takes NAME:/path, and paths of the server.
  const parts = (at: number) => /^([^/]*?)(:.*)?$/s.exec(words[at] ?? "") ?? [];
  const named = namePositions(words).filter((at) => isKnown(parts(at)[1] ?? ""));
  for (const at of manyNames.includes(words[verbAt(words)] ?? "") ? named : named.slice(0, 1)) {
    const [, name = "", path = ""] = parts(at);
    translated[at] = handleOf(name, sandboxes) + path;
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

/** A text table with aligned columns. */
export function textTable(rows: readonly string[][]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: string[]) => row.map((cell = "", column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

/** A creation time to the minute. */
export const minuteOf = (createdAt: string | undefined): string =>
  createdAt?.slice(0, 16).replace("T", " ") ?? "-";
