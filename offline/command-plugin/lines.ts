import { StringDecoder } from "node:string_decoder";

/** A line longer than this is passed on in parts. */
const MAX_LINE = 8 * 1024;

export interface LineSplitter {
  push(chunk: Buffer): void;
  /** Passes on what is left without a line end. */
  end(): void;
}

/** Cuts a stream of bytes into lines of text, without their line ends. */
export function splitLines(onLine: (line: string) => void): LineSplitter {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  const take = (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line.replace(/\r$/, ""));
    if (rest.length > MAX_LINE) {
      onLine(rest);
      rest = "";
    }
  };
  return {
    push: (chunk) => take(decoder.write(chunk)),
    end: () => {
      take(decoder.end());
      if (rest !== "") onLine(rest);
      rest = "";
    },
  };
}
