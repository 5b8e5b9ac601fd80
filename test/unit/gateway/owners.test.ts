import { appendFileSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Answered, AskOptions } from "../../harness/kept-alive";
import { restoreBody, START } from "./harness";
import { create, logFolder, mounts, NEVER, SECRET, type TwoOwners, twoOwners, upgrade } from "./two-owners";

const NEVER_DIGEST = `sha256:${"0".repeat(64)}`;

/** What is only Bob's has a name that Ann has nothing of. */
let { gateway, ann, bob } = {} as TwoOwners;
const path64 = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });

/** What Bob sees, and all that msb was asked for and keeps: as text. */
async function stateOfBob(): Promise<string> {
  const seen: Answered["body"][] = [];
  const see = async (path: string, headers = {}) => seen.push((await bob.ask("GET", path, { headers })).body);
  for (const path of ["/v1/sandboxes", "/v1/volumes", "/v1/quotas", "/v1/snapshots"]) await see(path);
  for (const { id, name } of seen[0].data) {
    await see(`/v1/sandboxes/${id}`);
    await see(`/v1/sandboxes/by-name/${name}`);
  }
  for (const { id } of seen[1]) {
    await see(`/v1/volumes/${id}/files`, path64("/"));
    await see(`/v1/volumes/${id}/files/content`, path64("/secret"));
  }
  const files = ["fake", "volumes", "sandboxes", "snapshots"].flatMap((folder) =>
    filesBelow(join(gateway.home, folder)),
  );
  // Looking at it is what changes that time.
  return JSON.stringify([seen, files], null, 1).replace(/"accessed_at": "[^"]*"/g, "");
}

function filesBelow(folder: string): string[] {
  return (readdirSync(folder, { recursive: true }) as string[])
    .map((each) => join(folder, each))
    .filter((path) => statSync(path).isFile())
    .sort()
    .map((path) => `${path}: ${readFileSync(path, "utf8")}`);
}

describe("all routes of the API description, tried by one key on the other's", () => {
  let box: { id: string; name: string };
  let volume: { id: string; name: string };
  let snapshot: { id: string; name: string; digest: string };
  let routes: [method: string, path: string][];

  beforeAll(async () => {
    ({ gateway, ann, bob } = await twoOwners());
    await ann.ask("POST", "/v1/volumes", { body: { name: "anns" } });
    await create(ann, "anns");
    volume = (await bob.ask("POST", "/v1/volumes", { body: { name: "bobs-volume" } })).body;
    const put = { method: "PUT", headers: { authorization: "Bearer key-of-bob", ...path64("/secret") } };
    await fetch(`${gateway.url}/v1/volumes/${volume.id}/files/content`, { ...put, body: SECRET });
    box = (await create(bob, "bobs-box", { mounts: mounts("bobs-volume"), labels: { of: "bob" } })).body;
    await create(bob, "bobs-second");
    const snap = { sandbox_id: box.id, name: "bobs-snapshot", labels: { of: "bob" } };
    const { result } = (await bob.ask("POST", "/v1/snapshots", { body: snap })).body;
    snapshot = { id: result.location.id, name: result.name, digest: result.digest };
    appendFileSync(
      join(logFolder(gateway.home, box), "exec.log"),
      `{"t":"2026-01-01T00:00:00Z","s":"stdout","d":"${SECRET}"}\n`,
    );
    // What msb made of them is asked for in the background.
    for (const name of ["bobs-box", "bobs-second"]) await bob.ask("GET", `/v1/sandboxes/by-name/${name}`);
    const { body } = await ann.ask("GET", "/openapi.json");
    routes = Object.entries<object>(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => [method.toUpperCase(), path] as [string, string]),
    );
  });

  /** What a request to a route of somebody's things is sent with. */
  const options = (method: string, path: string): AskOptions => {
    if (path.includes("/files")) {
      const body = path.endsWith("/mkdir") ? { path: "/new" } : { from: "/secret", to: "/copy" };
      return { headers: path64("/secret"), ...(method !== "GET" && method !== "DELETE" && { body }) };
    }
    if (path.endsWith("/fork")) return { body: { count: 1 } };
    return method === "POST" || method === "PUT" || method === "PATCH" ? { body: {} } : {};
  };

  test("what it is told is what it would be told of things that never were, and nothing of it happens", async () => {
    const aimed = routes.filter(([, path]) => path.includes("{"));
    expect(aimed.length).toBeGreaterThan(18);
    const before = await stateOfBob();
    for (const [method, path] of aimed) {
      const of = path.startsWith("/v1/volumes") ? volume : path.startsWith("/v1/snapshot") ? snapshot : box;
      const at = (id: string, name: string) => path.replace("{id}", id).replace("{name}", name);
      const asked = options(method, path);
      const ask = (aim: string) => ann.ask(method, aim, { ...asked, leaveAfterMs: 5_000 });
      const theirs = await ask(at(of.id, of.name));
      const none = await ask(at(NEVER, "never-was"));
      expect([method, path, told(theirs)]).toEqual([method, path, told(none)]);
      expect(theirs.status, `${method} ${path}`).toBeGreaterThanOrEqual(400);
      if (path.endsWith("/agent"))
        expect(told(await upgrade(gateway, at(of.id, "")))).toEqual(
          told(await upgrade(gateway, at(NEVER, ""))),
        );
    }
    expect(await stateOfBob()).toBe(before);
  });

  /** An answer, with what names the thing asked for made equal. */
  function told({ status, body }: Answered): unknown {
    const known = [snapshot.digest, ...[box, volume, snapshot].flatMap(({ id, name }) => [id, name])];
    const names = new RegExp([...known, NEVER, NEVER_DIGEST, "never-was"].join("|"), "g");
    return [status, JSON.stringify(body).replace(names, "IT")];
  }

  test("those of nobody's thing in particular show nothing of it", async () => {
    const cursor = (await bob.ask("GET", "/v1/sandboxes?limit=1")).body.next_cursor;
    expect(cursor).not.toBeNull();
    const labels = encodeURIComponent('{"of":"bob"}');
    const plain = routes.filter(([method, path]) => method === "GET" && !path.includes("{"));
    const paths = [
      ...plain.map(([, path]) => path),
      ...[`/v1/sandboxes?cursor=${encodeURIComponent(cursor)}`, `/v1/sandboxes?labels=${labels}`],
    ];
    for (const path of paths)
      expect(JSON.stringify((await ann.ask("GET", path)).body), path).not.toMatch(/bob|only-bob/);
    const quotas = (await ann.ask("GET", "/v1/quotas")).body;
    expect(quotas).toMatchObject({ total_sandboxes: 1, memory_mib_used: 64, vcpus_used: 1 });
  });

  test("its volume can't be mounted, and refusing tells no more than of one that never was", async () => {
    const before = await stateOfBob();
    const [theirs, none] = [
      await create(ann, "thief", { mounts: mounts("bobs-volume") }),
      await create(ann, "thief", { mounts: mounts("never-was") }),
    ];
    expect(told(theirs)).toEqual(told(none));
    expect(theirs.status).toBe(404);
    expect(await stateOfBob()).toBe(before);
  });

  test("nothing starts from its snapshot, nor is one made of its sandbox, by any way to call them", async () => {
    const { body: own } = await ann.ask("GET", "/v1/sandboxes/by-name/anns");
    const before = await stateOfBob();
    const restore = (id: string) =>
      ann.ask("POST", `/v1/sandboxes?${START}`, { body: restoreBody("thief", id) });
    for (const [called, never] of [
      [snapshot.id, NEVER],
      [snapshot.name, "never-was"],
      [snapshot.digest, NEVER_DIGEST],
    ] as const) {
      const [theirs, none] = [await restore(called), await restore(never)];
      expect(told(theirs)).toEqual(told(none));
      expect([theirs.status, theirs.body.error.code]).toEqual([404, "snapshot_not_found"]);
    }
    const capture = (sandbox_id: string, name: string, force = false) =>
      ann.ask("POST", "/v1/snapshots", { body: { sandbox_id, name, force } });
    expect(told(await capture(box.id, "loot"))).toEqual(told(await capture(NEVER, "loot")));
    expect(await stateOfBob()).toBe(before);
    // Its name is nobody's but its owner's, and what takes its place is Ann's own alone.
    for (const force of [false, true]) expect((await capture(own.id, snapshot.name, force)).status).toBe(202);
    expect((await bob.ask("GET", `/v1/snapshots/by-name/${snapshot.name}`)).body.location.id).toBe(
      snapshot.id,
    );
    expect((await bob.ask("GET", "/v1/snapshots")).body.data).toHaveLength(1);
  });

  test("a position in its log opens nothing", async () => {
    const own = (await ann.ask("GET", "/v1/sandboxes/by-name/anns")).body.id;
    const events = async (key: string, id: string, headers = {}) => {
      const given = {
        headers: { authorization: `Bearer ${key}`, ...headers },
        signal: AbortSignal.timeout(3_000),
      };
      let text = "";
      const answer = await fetch(`${gateway.url}/v1/sandboxes/${id}/logs?sources=stdout,system`, given);
      for await (const chunk of answer.body ?? []) {
        text += Buffer.from(chunk).toString("utf8");
        if (text.includes("event: log")) break;
      }
      return text;
    };
    const position = /id: (\S+)/.exec(await events("key-of-bob", box.id))?.[1] ?? "";
    expect(position).not.toBe("");
    expect(await events("key-of-ann", own, { "last-event-id": position })).not.toContain(SECRET);
  });
});
