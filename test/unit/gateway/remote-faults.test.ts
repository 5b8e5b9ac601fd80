import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import { type AddressInfo, createServer as createRawServer } from "node:net";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RemoteBackend } from "../../../docker/gateway/src/backends/remote/client";
import { serveBackend } from "../../../docker/gateway/src/backends/remote/serve";
import { ServiceError } from "../../../docker/gateway/src/errors";
import type { SandboxSpec } from "../../../docker/gateway/src/sandboxes/spec";
import { atFileEnd } from "../../harness/file-end";
import { refused } from "./backend-contract/world";
import { type Asked, endless, endlessBytes, hangingBackend, signalOf } from "./hanging-backend";
import { until } from "./harness";

const ID = "00000000-0000-4000-8000-000000000001";
const PATH = Buffer.from("/f");
const CALLER = { owner: "ann" };
const idle = () => new AbortController().signal;
const filesOf = (backend: RemoteBackend, signal?: AbortSignal) =>
  backend.volumes.files(ID, {}, { ...CALLER, signal });
async function drained(items: AsyncIterable<unknown>) {
  for await (const _ of items);
}

type Use = (backend: RemoteBackend, signal?: AbortSignal) => Promise<unknown>;
const change = { policy: "no_restart" as const, secrets: [], secrets_remove: [] };
/** Each kind of question, by what the backend behind is asked for. */
const USES: Record<string, Use> = {
  "sandboxes.create": ({ sandboxes }) =>
    sandboxes.create({ spec: {} as SandboxSpec, slug: "a", owner: null, desired: "stopped" }),
  "sandboxes.answered": ({ sandboxes }) => sandboxes.answered(ID),
  "sandboxes.get": ({ sandboxes }) => sandboxes.get({ id: ID }, {}),
  "sandboxes.resolve": ({ sandboxes }) => sandboxes.resolve(ID),
  "sandboxes.list": ({ sandboxes }) => sandboxes.list({ labels: {}, limit: 1 }),
  "sandboxes.want": ({ sandboxes }) => sandboxes.want(ID, "stopped"),
  "sandboxes.resume": ({ sandboxes }) => sandboxes.resume(ID),
  "sandboxes.fork": ({ sandboxes }) => sandboxes.fork(ID, { names: ["a"], inherit: new Set() }),
  "sandboxes.planModification": ({ sandboxes }) => sandboxes.planModification(ID, change),
  "sandboxes.modify": ({ sandboxes }) => sandboxes.modify(ID, change),
  "sandboxes.changes": ({ sandboxes }) => sandboxes.changes(),
  "volumes.list": ({ volumes }) => volumes.list({}),
  "volumes.known": ({ volumes }) => volumes.known({ ids: [ID], names: ["a"] }, {}),
  "volumes.shared": ({ volumes }) => volumes.shared(),
  "volumes.create": ({ volumes }) => volumes.create({ name: "a", labels: {}, owner: null }),
  "volumes.remove": ({ volumes }) => volumes.remove(ID, {}),
  "snapshots.create": ({ snapshots }) =>
    snapshots.create({ name: "a", labels: {}, owner: null, sandboxId: ID, force: false }),
  "snapshots.operation": ({ snapshots }) => snapshots.operation(ID, {}),
  "snapshots.list": ({ snapshots }) => snapshots.list({ limit: 1 }),
  "snapshots.find": ({ snapshots }) => snapshots.find({ id: ID }, {}),
  "snapshots.remove": ({ snapshots }) => snapshots.remove(ID, {}),
  hasName: (backend) => backend.hasName("volume", "a", {}),
  limits: (backend) => backend.limits(),
  usage: (backend) => backend.usage(),
  statuses: (backend) => backend.statuses(),
  version: (backend) => backend.version(),
  readiness: (backend) => backend.readiness(),
};
/** Those that whoever asks can give up, or leave. */
const LASTING: Record<string, Use> = {
  "sandboxes.until": ({ sandboxes }, signal = idle()) => sandboxes.until(ID, () => false, signal),
  "snapshots.until": ({ snapshots }, signal = idle()) => snapshots.until(ID, signal),
  "sandboxes.logs": ({ sandboxes }, signal = idle()) =>
    drained(sandboxes.logs(ID, { sources: new Set(["stdout"]), signal })),
  "sandboxes.watchChanges": ({ sandboxes }, signal = idle()) => drained(sandboxes.watchChanges(signal)),
  "sandboxes.openAgent": ({ sandboxes }, signal = idle()) => sandboxes.openAgent(ID, signal),
  "files.list": async (backend, signal) => drained((await filesOf(backend, signal)).list(PATH)),
  "files.stat": async (backend, signal) => (await filesOf(backend, signal)).stat(PATH),
  "files.exists": async (backend, signal) => (await filesOf(backend, signal)).exists(PATH),
  "files.mkdir": async (backend, signal) => (await filesOf(backend, signal)).mkdir(PATH),
  "files.copy": async (backend, signal) => (await filesOf(backend, signal)).copy(PATH, PATH),
  "files.rename": async (backend, signal) => (await filesOf(backend, signal)).rename(PATH, PATH),
  "files.remove": async (backend, signal) =>
    (await filesOf(backend, signal)).remove(PATH, { recursive: true }),
  "files.read": async (backend, signal) => (await filesOf(backend, signal)).read(PATH),
  "files.write": async (backend, signal) =>
    (await filesOf(backend, signal)).write(
      PATH,
      endless(() => Buffer.alloc(1000)),
    ),
};

const clientOf = (port: number, timeoutMs?: number) => {
  const backend = new RemoteBackend({ name: "server 2", url: `http://127.0.0.1:${port}`, timeoutMs });
  atFileEnd(() => backend.close());
  return backend;
};

async function serveHanging(answers = {}) {
  const logged: unknown[] = [];
  const { backend: behind, asked } = hangingBackend(answers);
  const server = await serveBackend(behind, { log: { error: (...what) => logged.push(what) } });
  atFileEnd(() => server.close());
  return { server, asked, logged, backend: clientOf(server.port) };
}

const arrived = async (asked: Asked[], name: string) => {
  await until(() => asked.some((each) => each.name === name), `${name} has arrived`);
  return asked.find((each) => each.name === name) as Asked;
};

describe("a server that is killed", () => {
  test.each(Object.entries({ ...USES, ...LASTING }))(
    "in the midst of %s does not answer",
    async (name, use) => {
      const { server, asked, backend } = await serveHanging();
      const using = use(backend);
      using.catch(() => undefined);
      await arrived(asked, name);
      await server.close();
      const error = await refused(using, "unavailable");
      expect(error.message).toBe("server 2 does not answer");
      expect(error.options.retryAfterSeconds).toBeGreaterThan(0);
      // Nor does one that is not there: nothing was asked of it.
      const later = await refused(use(backend), "unavailable");
      expect(later.options.uncertain).toBe(false);
    },
  );

  test("in the midst of a file's content breaks the content", async () => {
    const { content: bytes } = endlessBytes();
    const { server, backend } = await serveHanging({
      "files.read": async () => ({ size: 2 ** 40, content: bytes }),
    });
    const { content } = await (await filesOf(backend)).read(PATH);
    const reading = drained(content);
    reading.catch(() => undefined);
    await server.close();
    await refused(reading, "unavailable");
    await until(() => bytes.destroyed, "the file is closed");
  });

  test("is asked again where a kept connection was closed, for what only reads", async () => {
    let requests = 0;
    const server = createServer((request, response) => {
      requests++;
      // The second one on a kept connection finds it broken.
      if (requests === 2) request.socket.destroy();
      else response.end(JSON.stringify({ result: "1.2.3" }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    atFileEnd(() => server.close());
    const backend = clientOf((server.address() as AddressInfo).port);
    expect(await backend.version()).toBe("1.2.3");
    expect(await backend.version()).toBe("1.2.3");
    expect(requests).toBe(3);
    requests = 1;
    const error = await refused(backend.volumes.remove(ID, {}), "unavailable");
    expect([requests, error.options.uncertain]).toEqual([2, true]);
    await backend.close();
  });
});

describe("a client that goes away", () => {
  test.each(Object.entries(LASTING))("ends what it asked for with %s", async (name, use) => {
    for (const how of ["gives up", "ends"] as const) {
      // What comes is read, as a disk takes it.
      const { asked, backend } = await serveHanging({
        "files.write": (_path: Buffer, content: AsyncIterable<unknown>) => drained(content),
      });
      const leaving = new AbortController();
      const using = use(backend, leaving.signal);
      using.catch(() => undefined);
      const signal = signalOf((await arrived(asked, name)).args);
      expect(signal?.aborted).toBe(false);
      // The first state of a sandbox is waited for, whatever is given up.
      if (how === "gives up" && name !== "sandboxes.until") leaving.abort();
      else await backend.close();
      await until(() => signal?.aborted === true, "it has ended");
    }
  });

  test("closes its agent's connection, and one that breaks there ends here", async () => {
    const agents: Duplex[] = [];
    const openAgent = async () => {
      const agent = new Duplex({
        read: () => undefined,
        write: (_chunk, _encoding, done) => done(),
        final(done) {
          this.push(null);
          done();
        },
      });
      agents.push(agent.on("error", () => undefined));
      return agent;
    };
    const { backend } = await serveHanging({ "sandboxes.openAgent": openAgent });
    const open = () => backend.sandboxes.openAgent(ID, idle());
    (await open()).destroy();
    await until(() => agents[0]?.destroyed === true, "the guest's end is closed");
    const second = await open();
    const over = new Promise((resolve) => second.once("end", resolve).once("close", resolve));
    agents[1]?.destroy(new Error("broken"));
    second.resume();
    await over;
    second.destroy();
    await open();
    await backend.close();
    await until(() => agents[2]?.destroyed === true, "it ends with the client");
  });
});

test("a web page is not served, whatever it calls the server", async () => {
  const { server, asked } = await serveHanging();
  const headers = { origin: "http://evil.example", host: `rebound.example:${server.port}` };
  const ways = ["call/volumes.create", "stream/sandboxes.until", "files/read", "files/write"];
  for (const way of ways) {
    const response = await new Promise<IncomingMessage>((resolve) => {
      const path = `/backend/${way}`;
      request({ port: server.port, host: "127.0.0.1", method: "POST", path, headers }, resolve).end("[]");
    });
    expect(response.statusCode).toBe(422);
    expect(JSON.parse(await text(response)).error.kind).toBe("forbidden");
  }
  expect(asked).toEqual([]);
});

describe("garbage from a server", () => {
  const uses = { ...USES, ...LASTING };
  const answered = async (listener: RequestListener, work: (backend: RemoteBackend) => Promise<void>) => {
    const server = createServer(listener);
    server.on("upgrade", (_request, socket) =>
      socket.on("error", () => undefined).end("HTTP/1.1 200 OK\r\n\r\nwhat?"),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const backend = clientOf((server.address() as AddressInfo).port);
    try {
      await work(backend);
    } finally {
      await backend.close();
      server.closeAllConnections();
      server.close();
    }
  };
  /** What is not what was asked for is an error of the service; what might be is taken. */
  const harmless = async (using: Promise<unknown>) =>
    using.catch((error) => expect(error, String(error?.stack)).toBeInstanceOf(ServiceError));

  test("of any kind ends nothing", async () => {
    const value = fc.oneof(
      fc.json(),
      fc.json().map((result) => `{"result":${result}}`),
      fc.string(),
    );
    const error = fc.json().map((each) => `{"error":${each}}`);
    const answer = fc.record({
      status: fc.constantFrom(200, 204, 301, 404, 422, 500),
      text: fc.oneof(value, error, fc.constantFrom('{"result":{}}', '{"result":[]}', "null", "")),
    });
    let next = { status: 200, text: "" };
    await answered(
      (request, response) => {
        request.resume();
        response.writeHead(next.status).end(next.text);
      },
      (backend) =>
        fc.assert(
          fc.asyncProperty(answer, fc.constantFrom(...Object.keys(uses)), async (each, name) => {
            next = each;
            await harmless((uses[name] as Use)(backend));
          }),
          { numRuns: 300 },
        ),
    );
  });

  test("that is not even HTTP ends nothing", async () => {
    let bytes = new Uint8Array();
    const server = createRawServer((socket) => void socket.on("error", () => undefined).end(bytes));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const backend = clientOf((server.address() as AddressInfo).port);
    const heads = fc.constantFrom("", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    const raw = fc.tuple(heads, fc.uint8Array({ maxLength: 100 }));
    await fc.assert(
      fc.asyncProperty(raw, fc.constantFrom(...Object.keys(uses)), async ([head, rest], name) => {
        bytes = Buffer.concat([Buffer.from(head), rest]);
        await refused((uses[name] as Use)(backend), "unavailable");
      }),
      {
        numRuns: 100,
        examples: [[["HTTP/1.1 101 Switching Protocols\r\n\r\n", new Uint8Array()], "sandboxes.logs"]],
      },
    );
    await backend.close();
    server.close();
  });

  test("without an end is read no further than an answer may be long", async () => {
    let sent = 0;
    await answered(
      (_request, response) => {
        const { content, taken } = endlessBytes(Buffer.alloc(64 * 1024, "[1,"));
        response.on("close", () => {
          sent = taken();
          content.destroy();
        });
        response.writeHead(200);
        content.pipe(response);
      },
      async (backend) => {
        for (const [name, mostMib] of [
          ["sandboxes.list", 96],
          ["sandboxes.logs", 16],
          ["files.stat", 96],
          ["files.list", 96],
        ] as const) {
          sent = 0;
          const error = await refused((uses[name] as Use)(backend), "unavailable");
          expect(error.message).toContain("server 2");
          await until(() => sent > 0, "the connection is closed");
          expect(sent).toBeLessThan((mostMib + 32) * 1024 * 1024);
        }
      },
    );
  });
});
