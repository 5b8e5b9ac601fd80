import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Asked, ask } from "../../harness/ask";
import { msbCli } from "../clients/cli-session";
import { npmSdk, pythonSdk } from "../clients/sdk-session";
import type { Client } from "../clients/session";
import { commandCases } from "./conformance-commands";
import { endCases, logCases, refusalCases, trustCases } from "./conformance-lifecycle";
import { againOf, type ConformanceServer, limit, type Shared, snapshotsOf } from "./conformance-shared";
import { snapshotCases } from "./conformance-snapshots";
import { mountCases, volumeCases } from "./conformance-volumes";

/**
 * The official clients that a stack is tested with. A version more is a line more, and minutes on an emulated host. All
 * of a version use one library: `npm test` takes both kinds of 0.7 and npm's of 0.6, `npm run test:e2e` all.
 */
export const officialClients: Client[] = [
  pythonSdk("0.7.11"),
  npmSdk("0.6.18"),
  msbCli("0.7.11"),
  ...(process.env.TEST_CLIENTS === "all" ? [pythonSdk("0.6.18"), msbCli("0.6.18")] : []),
];

/**
 * Declares the tests of the official clients against a server. One sandbox runs at a time, so that they pass on the
 * smallest host. Whatever the outcome, no sandbox, no volume and no snapshot is left.
 *
 * @param server - called when the first of the tests starts
 * @param clients - default: all official ones
 */
export function conformance(server: () => ConformanceServer, clients: Client[] = officialClients): void {
  describe("official clients", () => {
    let stopWaking: () => void;
    beforeAll(() => {
      stopWaking = keepAwake(server());
    });
    afterAll(() => stopWaking?.());
    describe.each(clients)("$label", (client) => clientCases(client, server));
  });
}

function clientCases(client: Client, server: () => ConformanceServer): void {
  const shared = { client } as Shared;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "microsandbox-client-"));
    const suffix = randomBytes(3).toString("hex");
    const { url, authority } = server();
    const authorityFile = join(folder, "authority.pem");
    if (authority) await writeFile(authorityFile, authority);
    const open: Shared["open"] = ({ key = server().key, trusting = authority !== undefined } = {}) => {
      const endpoint = { url, key: key || "msb_none_is_checked", ...(trusting && { authorityFile }) };
      return client.open(endpoint, join(folder, "home"));
    };
    const names = { sandbox: `conformance-${suffix}`, volume: `conformance-volume-${suffix}` };
    Object.assign(shared, { folder, open, server: server(), ...names });
    shared.session = await open();
  });
  afterAll(async () => {
    await cleanUp(shared);
    await shared.session?.close();
    if (shared.folder) await rm(shared.folder, { recursive: true, force: true });
  });

  it("creates a volume, and a sandbox from the built-in image", limit, async () => {
    const { session, sandbox, volume } = shared;
    await session.createVolume(volume);
    await session.create(sandbox, {
      workdir: "/etc",
      env: { GREETING: "hello there" },
      labels: { suite: sandbox },
      volumes: client.mounts ? { "/data": volume } : {},
    });
    expect(await session.status(sandbox)).toBe("running");
  });

  commandCases(shared);
  mountCases(shared);
  refusalCases(shared);
  trustCases(shared);
  logCases(shared);
  snapshotCases(shared);
  endCases(shared);
  volumeCases(shared);
}

/**
 * Sends the server a request every other second. An emulated host that idles can lose its timer interrupt, and then
 * sleeps on, in the middle of a client's wait too, until a packet comes.
 * @returns stops it
 */
function keepAwake(server: Asked): () => void {
  const wake = () => void ask(server, "/healthz").catch(() => undefined);
  const timer = setInterval(wake, 2_000);
  return () => clearInterval(timer);
}

const volumeList = z.array(z.object({ id: z.string(), name: z.string().nullable() }));

/** Without the client under test, which may be the one thing that does not work. */
async function cleanUp({ server, sandbox, volume }: Shared): Promise<void> {
  if (!server) return;
  const request = (method: string, path: string) =>
    ask(server, `/v1/${path}`, { method, key: server.key || "any" });
  for (const name of [sandbox, `${sandbox}-once`, `${sandbox}-refused`, againOf(sandbox)])
    await request("DELETE", `sandboxes/by-name/${name}`);
  for (const name of snapshotsOf(sandbox)) await request("DELETE", `snapshots/by-name/${name}`);
  const volumes = JSON.parse((await request("GET", "volumes")).text);
  for (const { id, name } of volumeList.parse(volumes))
    if (name === volume) await request("DELETE", `volumes/${id}`);
}
