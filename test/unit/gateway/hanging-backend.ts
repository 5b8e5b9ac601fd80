import { PassThrough, type Readable } from "node:stream";
import type { MirroredBackend } from "../../../docker/gateway/src/sandboxes/changes";

/** What a backend was asked for, and with what: the signal of it, where it has one. */
export type Asked = { name: string; args: unknown[] };

type Answers = Record<string, (...args: never[]) => unknown>;

/** A backend that never answers, but for what is given; it tells what it was asked for, by names like "sandboxes.get". */
export function hangingBackend(answers: Answers = {}): { backend: MirroredBackend; asked: Asked[] } {
  const asked: Asked[] = [];
  const method =
    (name: string) =>
    (...args: never[]) => {
      asked.push({ name, args });
      const answer = answers[name];
      if (answer) return answer(...args);
      if (name === "volumes.files") return Promise.resolve(part("files", signalOf(args)));
      return STREAMS.has(name) ? endless(() => never) : never;
    };
  // Of files, the caller's signal is what all are given up with.
  const part = (prefix: string, signal?: AbortSignal): object =>
    new Proxy(
      {},
      {
        get: (_, name) =>
          name === "then"
            ? undefined
            : (...args: never[]) =>
                method(`${prefix}.${String(name)}`)(...args, ...((signal ? [signal] : []) as never[])),
      },
    );
  const whole = new Proxy(
    {},
    {
      get: (_, name) =>
        ["sandboxes", "volumes", "snapshots"].includes(String(name))
          ? part(String(name))
          : method(String(name)),
    },
  );
  return { backend: whole as MirroredBackend, asked };
}

const never = new Promise<never>(() => undefined);
const STREAMS = new Set(["sandboxes.logs", "sandboxes.watchChanges", "files.list"]);

/** Items without an end, made when they are asked for. */
export const endless = <T>(make: () => T | Promise<T>): AsyncGenerator<T> =>
  (async function* () {
    for (;;) yield await make();
  })();

/** The signal among arguments, or in one of them. */
export function signalOf(args: unknown[]): AbortSignal | undefined {
  for (const each of args) {
    if (each instanceof AbortSignal) return each;
    const inside = (each as { signal?: unknown } | null)?.signal;
    if (inside instanceof AbortSignal) return inside;
  }
  return undefined;
}

/** Bytes without an end, and how many were taken. */
export function endlessBytes(piece = Buffer.alloc(64 * 1024)): { content: Readable; taken: () => number } {
  let taken = 0;
  const content = new PassThrough();
  const fill = () => {
    do taken += piece.length;
    while (!content.destroyed && content.write(piece));
  };
  content.on("drain", fill);
  fill();
  return { content, taken: () => taken };
}

/** Resolves when a number has stayed as it is for a while. */
export async function steady(count: () => number): Promise<number> {
  for (let [last, times] = [-1, 0]; ; ) {
    const now = count();
    times = now === last ? times + 1 : 0;
    last = now;
    if (times === 10) return now;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
