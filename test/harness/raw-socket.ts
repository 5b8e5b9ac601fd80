import { connect } from "node:net";

/** Bytes for a server, as they are, and what may come back. */
export type RawCase = {
  /** What is wrong with it; cases of one kind are counted together. */
  kind: string;
  /** Written one after the other. */
  bytes: Buffer[];
  /** What the client does afterwards: wait for an answer, close its side, or break the connection. Default: wait. */
  afterwards?: "wait" | "end" | "break";
  /** Statuses that are right for it; default: any below 500. */
  accept?: (statuses: number[], text: string) => boolean;
};

export type RawOutcome = { statuses: number[]; text: string; closed: boolean };

/** How long a client waits for more when nothing comes: some of these requests never become complete. */
const SILENCE_MS = 300;
const MOST_BYTES = 256 * 1024;

/** Sends the bytes over a connection of its own and reads what comes until it is closed or silent. */
export function sendRaw(port: number, { bytes, afterwards = "wait" }: RawCase): Promise<RawOutcome> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let closed = false;
    const socket = connect({ host: "127.0.0.1", port });
    let silence: NodeJS.Timeout | undefined;
    const finish = () => {
      clearTimeout(silence);
      socket.destroy();
      const text = Buffer.concat(chunks).toString("latin1");
      resolve({ statuses: statusesIn(text), text, closed });
    };
    const wait = () => {
      clearTimeout(silence);
      silence = setTimeout(finish, SILENCE_MS);
    };
    socket.on("data", (chunk) => {
      size += chunk.length;
      if (size <= MOST_BYTES) chunks.push(chunk);
      wait();
    });
    // A server that closes in the middle of our sending resets the connection: that is an answer too.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      closed = true;
      finish();
    });
    socket.on("connect", () => {
      for (const each of bytes) socket.write(each);
      if (afterwards === "end") socket.end();
      if (afterwards === "break") setImmediate(() => socket.resetAndDestroy());
      wait();
    });
  });
}

/** Statuses of all answers in what came. */
const statusesIn = (text: string): number[] =>
  [...text.matchAll(/(?:^|\r\n\r\n|[^\r\n])HTTP\/1\.[01] (\d{3})[ \r]/g)].map((match) => Number(match[1]));
