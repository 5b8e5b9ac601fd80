import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { newBody, TestGateway } from "./harness";
import { forEach, type RawAnswer, rawAnswer, rawStatus, SPELLINGS, UPGRADE } from "./spellings";
import { bearer, withKeys } from "./with-keys";

/** What a stranger may GET. */
const OPEN = ["/healthz", "/readyz", "/version", "/openapi.json"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
/** For thousands of requests on a busy machine. */
const LONG = { timeout: 5 * 60_000 };
const KEY = "right";
/** A sandbox that is there, so that its routes have something to show and to change. */
const BOX = "box";

/** Every route that the server has, by fastify's own word, with names that exist in the place of parameters. */
function routesOf({ gateway }: TestGateway, id: string): string[] {
  const above: string[] = [];
  const paths: string[] = [];
  // A tree: each level is indented by four more characters and holds its part of the path.
  for (const line of gateway.app.printRoutes({ commonPrefix: false }).split("\n")) {
    const [, indent = "", part, methods] = /^([│ ]*)[├└]── (\S*)(?: \(([A-Z, -]+)\))?$/.exec(line) ?? [];
    if (part === undefined) continue;
    above.length = indent.length / 4;
    above.push(part);
    if (methods) paths.push(above.join(""));
  }
  return paths.map((path) => path.replace(":id", id).replace(":name", BOX).replace(/\/?\*/, "/x"));
}

/** What a request may have changed. */
async function state(gateway: TestGateway) {
  const [{ body: sandboxes }, { body: volumes }] = await Promise.all([
    gateway.get("/v1/sandboxes", bearer(KEY)),
    gateway.get("/v1/volumes", bearer(KEY)),
  ]);
  type Row = Record<string, unknown>;
  const rows = sandboxes.data.map(({ id, name, status }: Row) => [id, name, status]);
  return { rows, volumes: volumes.map(({ id }: Row) => id), made: gateway.calls() };
}

/** Refused by the guard; or before there was an address to guard, where these bytes are no request. */
const isRefused = ({ status, text }: RawAnswer, byTheGuard = 401): boolean =>
  status === byTheGuard || (status === 400 && /not an HTTP request|not a valid url component/.test(text));

const told = ({ status, text }: RawAnswer): string => `${status} ${text.split("\r\n\r\n")[1]?.slice(0, 200)}`;

type Attempt = { method: string; target: string; headers: Record<string, string>; what: string };

const spelled = (route: string) =>
  Object.entries(SPELLINGS).map(([what, spell]) => ({ what, target: spell(route) }));

/** A path with its letters as they are; one with escapes that are none stays as it is. */
function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

describe("without a key", () => {
  let gateway: TestGateway;
  let routes: string[];
  beforeAll(async () => {
    const made = await withKeys([{ id: "a", key: KEY }]);
    gateway = made.gateway;
    const { body } = await made.create(KEY, BOX);
    routes = routesOf(gateway, body.id);
  });

  const attempt = ({ method, target, headers }: Attempt) =>
    rawAnswer(gateway.url, { method, target, headers, body: bodyOf(method) });

  test("the table of routes is whole, and a right key gets through by each spelling that is the route's", async () => {
    expect(routes).toEqual(
      expect.arrayContaining(["/metrics", "/v1/quotas", "/v1/sandboxes", "/v1/volumes", "/v1/snapshots"]),
    );
    expect(routes.length).toBeGreaterThan(20);
    for (const target of ["/metrics", "/metric%73", "http://x/v1/quotas", "/%761/sandboxes", "/metrics#a"])
      expect(await rawStatus(gateway.url, { method: "GET", target, headers: bearer(KEY) }), target).toBe(200);
  });

  test("every route by every method and spelling: refused, and nothing happens", LONG, async () => {
    const before = await state(gateway);
    const wrong: string[] = [];
    const attempts = [...routes, "/", "/v1", "/v1/nope"]
      .filter((route) => !OPEN.includes(route))
      .flatMap((route) =>
        METHODS.flatMap((method) =>
          spelled(route).map(({ what, target }, index) => ({
            ...{ method, target, what },
            headers: index % 3 === 2 ? UPGRADE : index % 3 === 1 ? bearer("wrong") : {},
          })),
        ),
      );
    await forEach(attempts as Attempt[], 32, async (one) => {
      const answer = await attempt(one);
      // A fragment is cut off: what is before it is the address.
      const isOpen = one.method === "GET" && one.target.startsWith("/healthz#");
      if (!isRefused(answer) && !(isOpen && [200, 400].includes(answer.status)))
        wrong.push(`${one.method} ${one.target} (${one.what}): ${told(answer)}`);
    });
    expect(wrong).toEqual([]);
    expect(await state(gateway)).toEqual(before);
  });

  test("what is open is open to GET alone, and to no WebSocket", async () => {
    for (const target of OPEN)
      for (const method of METHODS) {
        const status = await rawStatus(gateway.url, { method, target });
        if (method === "GET") expect([200, 503], target).toContain(status);
        else expect(status, `${method} ${target}`).toBe(401);
        expect(await rawStatus(gateway.url, { method, target, headers: UPGRADE })).toBe(
          method === "GET" ? 400 : 401,
        );
      }
  });

  test("any mixture of spellings, methods and headers", async () => {
    const before = await state(gateway);
    const mixture = fc.record({
      route: fc.constantFrom(...routes.filter((route) => !OPEN.includes(route))),
      // Not HEAD: its answer has no text that says why.
      method: fc.oneof(
        fc.constantFrom(...METHODS.filter((name) => name !== "HEAD")),
        fc.constantFrom("M-SEARCH", "LINK", "PURGE", "get"),
      ),
      spellings: fc.array(fc.constantFrom(...Object.values(SPELLINGS)), { minLength: 1, maxLength: 4 }),
      noise: fc.tuple(
        fc.nat(),
        fc.constantFrom("", "%", "%2", "/", "//", ".", "%20", "?", "#", ";", "*", "é"),
      ),
      headers: fc.constantFrom<Record<string, string>>(
        {},
        UPGRADE,
        { connection: "Upgrade", upgrade: "h2c" },
        bearer("wrong"),
        { authorization: "Bearer" },
        { "x-original-url": "/healthz", "x-forwarded-for": "127.0.0.1" },
        { "x-http-method-override": "GET", host: "127.0.0.1" },
      ),
    });
    await fc.assert(
      fc.asyncProperty(mixture, async ({ route, method, spellings, noise: [at, text], headers }) => {
        const path = spellings.reduce((before, spell) => spell(before), route);
        const cut = at % (path.length + 1);
        const target = path.slice(0, cut) + text + path.slice(cut);
        const answer = await attempt({ method, target, headers, what: "" });
        // An open route is that one however its letters are written.
        const isOpen = method === "GET" && /^(?:https?:\/\/[^/]*)?\/healthz[?#]/i.test(decoded(target));
        const isClosed =
          answer.status === 0 || isRefused(answer) || (isOpen && [200, 400].includes(answer.status));
        expect(isClosed, `${method} ${target}: ${told(answer)}`).toBe(true);
      }),
      { numRuns: 400 },
    );
    expect(await state(gateway)).toEqual(before);
  });

  test("what is told of the server: yes or no, and the API's version", async () => {
    const shown = async (path: string, headers: Record<string, string>) =>
      (await gateway.get(path, headers)).body;
    for (const headers of [bearer("wrong"), { authorization: "" }]) {
      expect(await shown("/readyz", headers)).toEqual({ ready: expect.any(Boolean) });
      expect(await shown("/version", headers)).toEqual({ gateway: expect.any(String) });
    }
    expect(await shown("/readyz", bearer(KEY))).toMatchObject({ checks: { msb: { ok: true } } });
    expect(await shown("/version", bearer(KEY))).toMatchObject({ msb: "0.7.11" });
  });
});

describe("a page in a browser, in dev mode", () => {
  const PAGES: Record<string, string>[] = [
    { origin: "https://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site" },
    { host: "evil.example:5555", origin: "http://evil.example:5555", "sec-fetch-site": "same-origin" },
    { ...UPGRADE, origin: "https://evil.example" },
  ];

  test("every route by every spelling: refused, and nothing happens", async () => {
    const gateway = await TestGateway.start();
    const { body } = await gateway.create(BOX);
    const before = await state(gateway);
    const wrong: string[] = [];
    const attempts = routesOf(gateway, body.id)
      .filter((route) => !OPEN.includes(route))
      .flatMap((route) =>
        ["GET", "POST", "PUT", "DELETE"].flatMap((method) =>
          spelled(route).map(({ target }, index) => ({
            ...{ method, target },
            headers: PAGES[index % PAGES.length],
          })),
        ),
      );
    await forEach(attempts, 32, async ({ method, target, headers }) => {
      const answer = await rawAnswer(gateway.url, { method, target, headers, body: bodyOf(method) });
      const isOpen = method === "GET" && target.startsWith("/healthz#");
      if (!isRefused(answer, 403) && !(isOpen && [200, 400].includes(answer.status)))
        wrong.push(`${method} ${target} ${JSON.stringify(headers)}: ${told(answer)}`);
    });
    expect(wrong).toEqual([]);
    expect(await state(gateway)).toEqual(before);
    for (const headers of PAGES.slice(0, 4))
      expect(await pageSees(gateway, "/readyz", headers), JSON.stringify(headers)).not.toContain("checks");
  });

  async function pageSees(gateway: TestGateway, path: string, headers: Record<string, string>) {
    const answer = await gateway.gateway.app.inject({ url: path, headers });
    return answer.body;
  }
});

const bodyOf = (method: string) =>
  ["POST", "PUT", "PATCH", "DELETE"].includes(method) ? newBody("intruder") : undefined;
