import { setMaxListeners } from "node:events";
import { expect, test } from "vitest";
import { RemoteBackend } from "../../../docker/gateway/src/backends/remote/client";
import { serveBackend } from "../../../docker/gateway/src/backends/remote/serve";
import { atFileEnd } from "../../harness/file-end";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { refused, wanted } from "./backend-contract/world";
import { hangingBackend } from "./hanging-backend";
import { until } from "./harness";

const ID = "00000000-0000-4000-8000-000000000001";
const PATH = Buffer.from("/f");

/** A server that never answers but for what is given, and a client of it. */
async function serve(answers: Parameters<typeof hangingBackend>[0], timeoutMs?: number) {
  const { backend: behind, asked } = hangingBackend(answers);
  const server = await serveBackend(behind, { log: { error: () => undefined } });
  const backend = new RemoteBackend({ name: "server 1", url: `http://127.0.0.1:${server.port}`, timeoutMs });
  atFileEnd(async () => void (await Promise.all([backend.close(), server.close()])));
  return { backend, asked };
}

type Use = (backend: RemoteBackend, signal: AbortSignal) => Promise<unknown>;
const filesOf = ({ volumes }: RemoteBackend, signal: AbortSignal) =>
  volumes.files(ID, {}, { owner: "ann", signal });
/** What may take its time, by what the server is asked for. */
const LASTING: Record<string, Use> = {
  "files.copy": async (backend, signal) => (await filesOf(backend, signal)).copy(PATH, PATH),
  "files.remove": async (backend, signal) =>
    (await filesOf(backend, signal)).remove(PATH, { recursive: true }),
  "sandboxes.create": ({ sandboxes }) => sandboxes.create(wanted("a")),
  "sandboxes.fork": ({ sandboxes }) => sandboxes.fork(ID, { names: ["a"], inherit: new Set() }),
  "volumes.create": ({ volumes }) => volumes.create({ name: "a", labels: {}, owner: null }),
  "snapshots.create": ({ snapshots }) =>
    snapshots.create({ name: "a", labels: {}, owner: null, sandboxId: ID, force: false }),
};

test("what lasts, however much of it, keeps nothing else waiting", async () => {
  const random = randomFrom(seedFromEnvironment("REMOTE_SEED"));
  const { backend, asked } = await serve({ version: async () => "1.2.3" });
  const gone = new AbortController();
  setMaxListeners(0, gone.signal);
  const under: Promise<unknown>[] = [];
  const uses = Array.from({ length: 200 }, () => random.pick(Object.keys(LASTING)));
  for (const name of uses) under.push((LASTING[name] as Use)(backend, gone.signal));
  const counted = () => asked.filter(({ name }) => name in LASTING).length;
  await until(() => counted() === uses.length, "all of them to be asked for", 20_000);
  expect(await backend.version()).toBe("1.2.3");
  gone.abort();
  await backend.close();
  for (const each of await Promise.allSettled(under)) expect(each.status).toBe("rejected");
}, 60_000);

test("a call that waits for a connection ends in its time, and what was not asked is certain", async () => {
  const { backend, asked } = await serve({}, 500);
  const calls = Array.from({ length: 200 }, () =>
    refused(backend.sandboxes.want(ID, "stopped"), "unavailable"),
  );
  const uncertain = (await Promise.all(calls)).filter(({ options }) => options.uncertain);
  expect(asked.length).toBeGreaterThan(0);
  expect(uncertain.length).toBeGreaterThanOrEqual(asked.length);
  expect(uncertain.length).toBeLessThan(calls.length);
}, 60_000);

test("one that waits for a connection can be given up, and what comes after it is answered", async () => {
  let hangs = true;
  const never = new Promise(() => undefined);
  const { backend } = await serve({ "files.stat": () => (hangs ? never : Promise.reject(new Error("no"))) });
  const gone = new AbortController();
  setMaxListeners(0, gone.signal);
  const files = await filesOf(backend, gone.signal);
  const under = Array.from({ length: 200 }, () => refused(files.stat(PATH), "requestTimeout"));
  gone.abort();
  await Promise.all(under);
  hangs = false;
  const again = await filesOf(backend, new AbortController().signal);
  await refused(again.stat(PATH), "unavailable");
}, 60_000);
