import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { readConfig } from "../../../docker/gateway/src/config";
import { guardedScope } from "../../../docker/gateway/src/http/guarded-scope";
import { Metrics } from "../../../docker/gateway/src/http/metrics";
import { type Context, holdConnection } from "../../../docker/gateway/src/http/routes/context";
import { createServer } from "../../../docker/gateway/src/http/server";
import { ConnectionLimit, RateLimit } from "../../../docker/gateway/src/limits/rate-limit";
import { SharedPlaces } from "../../../docker/gateway/src/limits/shared-places";
import { atFileEnd } from "../../harness/file-end";
import { until } from "./harness";

const PLACES = 12;

test("requests that wait are so many at most, half of them for one key, and streams count elsewhere", async () => {
  const app = await createServer(readConfig({ LOG_LEVEL: "silent" }), new Metrics());
  const identify = ({ headers }: { headers: { authorization?: string } }) => ({
    id: headers.authorization,
    limits: {},
  });
  const underWay = new SharedPlaces(PLACES, "requests");
  const freeing = new SharedPlaces(2, "stops and removals");
  const guards = {
    ...{ keys: { identify } as never, rate: new RateLimit(1000), underWay: { others: underWay, freeing } },
  };
  const connections = new ConnectionLimit(100);
  const context = { connections, keys: { hold: () => () => undefined } } as unknown as Context;
  const waiting = new Set<() => void>();
  const freed = new Set<() => void>();
  const wait = (among = waiting) => new Promise<void>((resolve) => among.add(resolve));
  guardedScope(app, { ...guards, browsers: { devMode: false, hostNames: [] } }, (scope) => {
    scope.post("/wait", async () => {
      await wait();
      return {};
    });
    for (const [method, url] of [
      ["DELETE", "/remove"],
      ["POST", "/stop"],
    ] as const)
      scope.route({
        method,
        url,
        config: { freesRoom: method === "POST" },
        handler: async () => wait(freed),
      });
    scope.get("/at-once", async () => ({}));
    scope.get("/fails", async () => {
      throw new Error("it fails");
    });
    scope.get("/stream", async (request) => {
      holdConnection(context, request, () => undefined);
      await wait();
      return {};
    });
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  atFileEnd(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const METHODS: Record<string, string> = { "/wait": "POST", "/stop": "POST", "/remove": "DELETE" };
  const ask = async (key: string, path: string, signal?: AbortSignal) => {
    const method = METHODS[path] ?? "GET";
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...{ method, headers: { authorization: key }, signal },
    });
    return {
      status: answer.status,
      retryAfter: answer.headers.get("retry-after"),
      text: await answer.text(),
    };
  };

  // Whatever is over takes no place, however it ended.
  for (let at = 0; at < PLACES; at++)
    for (const path of ["/at-once", "/fails", "/none"]) await ask("ann", path);
  await until(() => underWay.inUse === 0, "places to be given back");
  const streams = Array.from({ length: PLACES }, () => ask("ann", "/stream"));
  await until(() => connections.total === PLACES && underWay.inUse === 0, "streams to count as connections");

  const left = new AbortController();
  const half = Array.from({ length: PLACES / 2 }, (_, at) =>
    ask("ann", "/wait", at === 0 ? left.signal : undefined).catch(() => undefined),
  );
  await until(() => underWay.inUse === PLACES / 2, "half of the places to be taken");
  for (const path of ["/wait", "/at-once", "/stream"])
    expect(await ask("ann", path)).toMatchObject({
      ...{ status: 429, retryAfter: "1" },
      text: expect.stringContaining("requests at once with one key"),
    });
  expect((await ask("bob", "/at-once")).status).toBe(200);
  // What frees room is served all the same, and so much of it at most.
  for (const path of ["/stop", "/remove"]) {
    const served = ask("ann", path);
    await until(() => freeing.inUse === 1, "a place to be taken");
    expect((await ask("ann", path)).text).toContain("stops and removals at once with one key");
    for (const over of freed) over();
    expect((await served).status).toBe(200);
    await until(() => freeing.inUse === 0, "the place to be given back");
  }
  left.abort();
  await until(() => underWay.inUse === PLACES / 2 - 1, "a client that leaves to give its place back");
  expect((await ask("ann", "/at-once")).status).toBe(200);
  for (const over of waiting) over();
  await Promise.all([...half, ...streams]);
  await until(() => underWay.inUse === 0 && connections.total === 0, "all places to be given back");
});
