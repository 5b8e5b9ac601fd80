import { Duplex } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RemoteBackend } from "../../../docker/gateway/src/backends/remote/client";
import { serveBackend } from "../../../docker/gateway/src/backends/remote/serve";
import { linesOf, textOf } from "../../../docker/gateway/src/byte-streams";
import { ERROR_KINDS, type ErrorKind, ServiceError } from "../../../docker/gateway/src/errors";
import type { LogEntry, Sandbox } from "../../../docker/gateway/src/sandboxes/backend";
import type { FileInfo } from "../../../docker/gateway/src/sandboxes/volume-files";
import { atFileEnd } from "../../harness/file-end";
import { endless, endlessBytes, hangingBackend, steady } from "./hanging-backend";
import { until } from "./harness";

const ID = "00000000-0000-4000-8000-000000000001";
const PATH = Buffer.from("/f");
const MIB = 1024 * 1024;
/** What the buffers of streams, sockets and the system hold together, at most. */
const HELD = 24 * MIB;
const idle = () => new AbortController().signal;

async function serve(answers: Parameters<typeof hangingBackend>[0]) {
  const { backend: behind } = hangingBackend(answers);
  const server = await serveBackend(behind, { log: { error: () => undefined } });
  const backend = new RemoteBackend({ name: "server 2", url: `http://127.0.0.1:${server.port}` });
  atFileEnd(() => Promise.all([backend.close(), server.close()]));
  return backend;
}
const filesOf = (backend: RemoteBackend) => backend.volumes.files(ID, {}, { owner: "ann" });

test("a file that nobody reads on is not read, and goes on when it is", async () => {
  const { content: bytes, taken } = endlessBytes();
  const backend = await serve({ "files.read": async () => ({ size: 2 ** 40, content: bytes }) });
  const { content } = await (await filesOf(backend)).read(PATH);
  const before = await steady(taken);
  expect(before).toBeLessThan(HELD);
  let read = 0;
  for await (const chunk of content) {
    read += chunk.length;
    if (read > before + HELD) break;
  }
  await until(() => bytes.destroyed, "the file is closed");
});

test("a file that is not taken is not sent, and its own errors are passed on", async () => {
  let taken: AsyncIterator<Uint8Array> | undefined;
  const backend = await serve({
    "files.write": async (_path: Buffer, content: AsyncIterable<Uint8Array>) => {
      taken = content[Symbol.asyncIterator]();
      await taken.next();
      await new Promise(() => undefined);
    },
  });
  let sent = 0;
  const mine = new Error("of the content");
  const writing = (await filesOf(backend)).write(
    PATH,
    endless(() => {
      if (sent > HELD + MIB) throw mine;
      sent += 64 * 1024;
      return Buffer.alloc(64 * 1024);
    }),
  );
  writing.catch(() => undefined);
  expect(await steady(() => sent)).toBeLessThan(HELD);
  const rest = (async () => {
    while (taken && !(await taken.next()).done);
  })();
  await expect(writing).rejects.toBe(mine);
  await expect(rest).rejects.toThrow();
});

test("of an agent's connection neither side holds what the other does not read", async () => {
  const { content: fromGuest, taken } = endlessBytes();
  let toGuest = 0;
  const guest = Duplex.from({
    readable: fromGuest,
    writable: new Duplex({
      read: () => undefined,
      write: (chunk) => {
        // Nothing after the first piece is taken.
        toGuest += chunk.length;
      },
    }),
  }).on("error", () => undefined);
  const backend = await serve({ "sandboxes.openAgent": async () => guest });
  const agent = await backend.sandboxes.openAgent(ID, idle());
  let sent = 0;
  const { content: mine, taken: mineTaken } = endlessBytes();
  mine.on("error", () => undefined).pipe(agent);
  sent = await steady(mineTaken);
  expect(sent).toBeLessThan(HELD);
  expect(toGuest).toBeGreaterThan(0);
  expect(await steady(taken)).toBeLessThan(HELD);
  agent.destroy();
  mine.destroy();
  await until(() => guest.destroyed, "the guest's end is closed");
});

test("of a log, and of a folder's list, no more is made than is read", async () => {
  let made = 0;
  const text = "x".repeat(64 * 1024);
  const entry = (): LogEntry[] => {
    made += text.length;
    return [{ source: "stdout", ts: "t", text, cursor: { generation: 1n, offset: BigInt(made) } }];
  };
  const times = { accessedAt: null, modifiedAt: null, createdAt: null };
  const part = (): FileInfo[] => {
    made += text.length;
    const path = Buffer.from(text);
    return [{ path, type: "file", size: 1, mode: 0, uid: 0, gid: 0, target: null, ...times }];
  };
  const backend = await serve({
    "sandboxes.logs": () => endless(entry),
    "files.list": () => endless(part),
  });
  const logs = backend.sandboxes.logs(ID, { sources: new Set(["stdout"]), signal: idle() });
  for (const items of [logs, (await filesOf(backend)).list(PATH)]) {
    made = 0;
    expect((await items.next()).value).toHaveLength(1);
    expect(await steady(() => made)).toBeLessThan(HELD);
    await items.return(undefined);
  }
});

test("of many changes while nobody looks the last is told, and the end is never missed", async () => {
  const state = (version: number): Sandbox =>
    ({
      ...{ id: ID, version, name: "a", slug: "a", owner: null, ephemeral: false, forkOf: null, spec: null },
      ...{ resolved: null, status: "running", paused: false, settled: true, ended: version === 100_000 },
      ...{ failure: null, createdAt: "t", startedAt: null, stoppedAt: null },
    }) as Sandbox;
  const backend = await serve({
    "sandboxes.until": async (_id: string, holds: (sandbox: Sandbox) => boolean) => {
      for (let version = 1; version < 100_000; version++) {
        if (holds(state(version))) return state(version);
        if (version % 1000 === 0) await new Promise(setImmediate);
      }
      return state(100_000);
    },
  });
  let seen = 0;
  const last = await backend.sandboxes.until(ID, () => seen++ < 0, idle());
  expect(last).toMatchObject({ version: 100_000, ended: true });
  expect(seen).toBeGreaterThan(1);
});

test("errors come as they were, and what was not foreseen without its text", async () => {
  let error: unknown;
  const fails = () => Promise.reject(error);
  const backend = await serve({
    ...{
      "sandboxes.want": fails,
      "sandboxes.openAgent": fails,
      "sandboxes.until": fails,
      "files.write": fails,
    },
    "files.read": fails,
    // biome-ignore lint/correctness/useYield: it fails first
    "sandboxes.logs": async function* () {
      throw error;
    },
  });
  const files = await filesOf(backend);
  const uses = [
    () => backend.sandboxes.want(ID, "stopped"),
    () => backend.sandboxes.openAgent(ID, idle()),
    () => backend.sandboxes.until(ID, () => true, idle()),
    () => backend.sandboxes.logs(ID, { sources: new Set(), signal: idle() }).next(),
    () => files.read(PATH),
    () =>
      files.write(
        PATH,
        endless(() => Buffer.alloc(64 * 1024)),
      ),
  ];
  const told = async (use: () => Promise<unknown>) =>
    use().then(
      () => undefined,
      (reason) => reason as ServiceError,
    );
  const kinds = fc.constantFrom<ErrorKind>(...ERROR_KINDS);
  const options = fc.record(
    { retryAfterSeconds: fc.nat(), uncertain: fc.constant(true) },
    { requiredKeys: [], noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(
      kinds,
      fc.string(),
      options,
      fc.constantFrom(...uses),
      async (kind, message, each, use) => {
        error = new ServiceError(kind, message, each);
        expect(await told(use)).toMatchObject({ kind, message, options: each });
      },
    ),
    { numRuns: 60 },
  );
  error = new Error("ENOENT: /root/secret");
  for (const use of uses) {
    const unforeseen = await told(use);
    expect(unforeseen).toMatchObject({ kind: "unavailable", options: { uncertain: true } });
    expect(unforeseen?.message).not.toContain("secret");
  }
});

test("lines are what they were, however they are cut", async () => {
  const lines = fc.array(fc.string({ unit: "binary" }).map((text) => text.replaceAll("\n", " ")));
  await fc.assert(
    fc.asyncProperty(lines, fc.integer({ min: 1, max: 9 }), async (all, size) => {
      const bytes = Buffer.from(all.map((line) => `${line}\n`).join(""));
      async function* pieces() {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
      }
      const got: string[] = [];
      for await (const line of linesOf(pieces(), 10_000)) got.push(line);
      expect(got).toEqual(Buffer.from(all.join("\n")).toString().split("\n").filter(Boolean));
      expect(await textOf(pieces(), bytes.length)).toBe(bytes.toString());
      if (bytes.length > 0) await expect(textOf(pieces(), bytes.length - 1)).rejects.toThrow(RangeError);
    }),
  );
});
