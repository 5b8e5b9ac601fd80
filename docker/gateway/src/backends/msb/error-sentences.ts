import {
  diskFull,
  invalidRequest,
  invalidSpec,
  ServiceError,
  sandboxNotFound,
  snapshotNotFound,
  volumeNameTaken,
  volumeNotFound,
} from "../../errors";

/** What a command of msb was about. */
export type Subject = { what: "sandbox" | "volume" | "image" | "snapshot"; name: string };

type Sentence = {
  says: RegExp;
  about?: Subject["what"];
  /** @param said msb's own line */
  becomes: (name: string, said: string) => ServiceError;
};

/**
 * msb has no machine-readable errors: this is every sentence of its that the server tells apart, the first that fits
 * counts. The tests hold the texts of the versions that were looked at.
 */
const SENTENCES: Sentence[] = [
  { says: /database is locked|database table is locked/i, becomes: () => busy() },
  {
    says: /no space left on device|database or disk is full|disk quota exceeded/i,
    becomes: () => diskFull(),
  },
  { says: /sandbox not found/i, about: "sandbox", becomes: sandboxNotFound },
  { says: /snapshot not found/i, about: "snapshot", becomes: snapshotNotFound },
  {
    says: /snapshot not found/i,
    becomes: () => new ServiceError("snapshotNotFound", "the snapshot is not there any more"),
  },
  {
    says: /cannot be restored losslessly/i,
    becomes: () =>
      new ServiceError("conflict", "the image that the snapshot was made from is not on the server any more"),
  },
  {
    says: /fork are unavailable while managed jobs are active/i,
    becomes: () => new ServiceError("conflict", "jobs of msb's are active in it; wait for them, or end them"),
  },
  { says: /volume not found/i, about: "volume", becomes: volumeNotFound },
  { says: /volume not found/i, about: "sandbox", becomes: (_name, said) => invalidSpec(said) },
  {
    says: /already exists/i,
    about: "volume",
    becomes: volumeNameTaken,
  },
  {
    says: /in use|mounted|attached/i,
    about: "volume",
    becomes: (_name, said) => new ServiceError("conflict", said),
  },
  {
    says: /image in use by sandbox/i,
    becomes: () => new ServiceError("conflict", "a sandbox or a snapshot uses it"),
  },
  { says: /size too large/i, about: "volume", becomes: (_name, said) => invalidRequest(said) },
  { says: /^invalid config/i, about: "volume", becomes: (_name, said) => invalidRequest(said) },
  { says: /image not (cached|found)/i, becomes: (_name, said) => new ImageNotCached(said) },
  { says: /registry error|image error/i, becomes: (_name, said) => invalidSpec(said) },
  {
    says: /invalid (config|sandbox configuration|rule|image reference)|is not (a valid|a recognized)|is ambiguous|rule token/i,
    becomes: (_name, said) => invalidSpec(said),
  },
];

/** msb has no such image, and was told not to pull it. */
export class ImageNotCached extends ServiceError {
  constructor(message: string) {
    super("invalidSpec", message);
  }
}

const busy = () =>
  new ServiceError("unavailable", "the server's database is busy; try again", { retryAfterSeconds: 1 });

/** Whether msb did nothing because another process of it held its database. */
export const isBusy = (stderr: string): boolean => /database is locked/i.test(stderr);

/** The failure of a command that was about something. What no sentence tells is the runtime's fault, not the client's. */
export function failureOf(stderr: string, code: number, subject?: Subject): ServiceError {
  const said = lastLine(stderr);
  for (const { says, about, becomes } of SENTENCES) {
    if (about !== undefined && about !== subject?.what) continue;
    if (says.test(about === undefined ? stderr : said)) return becomes(subject?.name ?? "", said);
  }
  // Its own word for arguments that it does not take.
  if (code === 2 && subject) return invalidSpec(said);
  return new ServiceError("runtimeFailed", [said, ...reasonsOf(stderr)].join(": "));
}

/** The lines below an error that say why, without advice to run a command of msb. */
function reasonsOf(stderr: string): string[] {
  return stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("→") && !line.includes("msb logs"))
    .map((line) => line.replace(/^\u2192\s*(other:\s*)?/, ""));
}

/** One line of msb's error text, without its "error:" prefix and colours. */
export function lastLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour is.
  const plain = text.replace(/\u001b\[[0-9;]*m/g, "").trim();
  const lines = plain.split("\n").map((line) => line.trim());
  const line = lines.find((each) => each.startsWith("error:")) ?? lines.at(-1) ?? "";
  return line.replace(/^error:\s*/, "") || "no message";
}
