import * as z from "zod";
import type { Sandbox, SandboxBackend } from "../../sandboxes/backend";
import { decodeCursor, encodeCursor } from "../../sandboxes/log-cursor";
import { sent } from "./calls";
import { type Folder, filesOf, pathOf, type SentPath, sentInfo } from "./files-wire";
import { fileInfo, logEntry, operation, sandbox } from "./shapes";
import type { Served } from "./wire";

const stream = <A extends unknown[], R>(
  run: (served: Served, ...args: A) => AsyncIterable<R>,
  /** What each line has at least. */
  line: z.ZodType,
) => ({ run, line });

export type SentLogQuery = { sources: string[]; after?: string; reader?: string };

/** All that is answered bit by bit, by name; each bit is a line of JSON. */
export const STREAMS = {
  "sandboxes.until": stream(async function* ({ backend, endings, signal }, id: string) {
    try {
      yield* states(backend.sandboxes, id, signal);
    } catch (error) {
      const last = endings.of(id);
      if (!last) throw error;
      yield sent(last);
    }
  }, sandbox),
  "sandboxes.watchChanges": stream(
    ({ backend, signal }) => backend.sandboxes.watchChanges(signal),
    z.literal("changed"),
  ),
  /** The operation when it is over. */
  "snapshots.until": stream(async function* ({ backend, signal }, id: string) {
    yield await backend.snapshots.until(id, signal);
  }, operation),
  "sandboxes.logs": stream(async function* (
    { backend, signal },
    id: string,
    { sources, after = "", reader }: SentLogQuery,
  ) {
    const query = { sources: new Set(sources), after: decodeCursor(after) ?? undefined, signal, reader };
    for await (const entries of backend.sandboxes.logs(id, query))
      yield entries.map((entry) => ({ ...entry, cursor: encodeCursor(entry.cursor) }));
  }, logEntry.array()),
  "files.list": stream(async function* (served, folder: Folder, path: SentPath) {
    for await (const part of (await filesOf(served, folder)).list(pathOf(path))) yield part.map(sentInfo);
  }, fileInfo.array()),
};

export type Streams = typeof STREAMS;
export type StreamName = keyof Streams;
type Run<N extends StreamName> = Streams[N]["run"] extends (
  served: Served,
  ...args: infer A
) => AsyncIterable<infer R>
  ? { args: A; line: R }
  : never;
export type StreamArguments<N extends StreamName> = Run<N>["args"];
export type StreamLine<N extends StreamName> = Run<N>["line"];

export const isStream = (name: string): name is StreamName => Object.hasOwn(STREAMS, name);

/**
 * A sandbox as it is, and again whenever that is something else, to its end. Of several changes while nobody reads, the
 * last; it is one watch, so that the last state is not missed, with the reason why it is the last.
 */
async function* states(sandboxes: SandboxBackend, id: string, signal: AbortSignal): AsyncGenerator<Sandbox> {
  let newest: { state: Sandbox; text: string } | undefined;
  let over = false;
  let wake = () => {};
  const see = (seen: Sandbox): false => {
    const state = sent(seen);
    newest = { state, text: JSON.stringify(state) };
    wake();
    return false;
  };
  const watched = sandboxes
    .until(id, see, signal)
    .then(see)
    .finally(() => {
      over = true;
      wake();
    });
  // Whoever reads no more must not leave an error that nobody handles.
  watched.catch(() => undefined);
  for (let told: string | undefined; ; ) {
    while (newest?.text === told && !over)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    if (newest === undefined || newest.text === told) break;
    told = newest.text;
    yield newest.state;
  }
  await watched;
}
