import { expect, it } from "vitest";
import { againOf, limit, type Shared, snapshotsOf } from "./conformance-shared";

/** Names that JSON, or an order of their own, could spoil: then the client refuses the whole list. */
const LABELS = { "9": "nine", "10": "ten", é: 'a "quote"', "back\\slash": "\u2028", "😀": "=" };

/** Cases of snapshots, for the clients that know them; the sandbox runs before and after. */
export function snapshotCases(shared: Shared): void {
  if (!shared.client.snapshots) return;

  it("makes a snapshot of a sandbox that runs, and shows it by all that it is called", limit, async () => {
    const { session, sandbox } = shared;
    const [name] = snapshotsOf(sandbox);
    const { snapshots } = session;
    // Not synced: what a guest has written is in it all the same.
    await session.exec(sandbox, ["sh", "-c", "echo before > /root/when"]);
    await snapshots.create(name, sandbox, LABELS);
    await session.exec(sandbox, ["sh", "-c", "echo after > /root/when"]);
    expect(await session.status(sandbox)).toBe("running");

    const listed = (await snapshots.list()).find((each) => each.name === name);
    expect(listed).toBeDefined();
    const { id = "", digest = "", reference = "" } = listed ?? {};
    expect(id).toBe(`snap_${digest.slice("sha256:".length).slice(0, 32)}`);
    for (const called of [name, id, digest, reference])
      expect(await snapshots.get(called)).toMatchObject({ id, digest, reference });
    expect((await snapshots.get(name)).labels ?? LABELS).toEqual(LABELS);
    await expect(snapshots.create(name, sandbox)).rejects.toThrow(/exist/);
  });

  it("starts a sandbox from it, with the disk of then", limit, async () => {
    const { session, sandbox } = shared;
    const [name] = snapshotsOf(sandbox);
    // One runs at a time.
    await session.stop(sandbox);
    const again = againOf(sandbox);
    await session.snapshots.restore(name, again);
    expect(await session.status(again)).toBe("running");
    expect(await session.exec(again, ["cat", "/root/when"])).toMatchObject({
      exitCode: 0,
      stdout: "before\n",
    });
    // By another process of the client, which knows of it what the server tells.
    const other = await shared.open();
    try {
      expect((await other.exec(again, ["hostname"])).exitCode).toBe(0);
    } finally {
      await other.close();
    }
    await session.stop(again);
    await session.remove(again);
    await expect(session.snapshots.restore(`${name}-none`, again)).rejects.toThrow(/not found/i);
  });

  it("makes one of a sandbox that is stopped, which starts again as it was", limit, async () => {
    const { session, sandbox } = shared;
    const [running, stopped] = snapshotsOf(sandbox);
    expect(await session.status(sandbox)).toBe("stopped");
    await session.snapshots.create(stopped, sandbox);
    expect(await session.status(sandbox)).toBe("stopped");
    const names = (await session.snapshots.list()).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([running, stopped]));
    await session.start(sandbox);
    expect((await session.exec(sandbox, ["cat", "/root/when"])).stdout).toBe("after\n");
  });

  it("removes snapshots", limit, async () => {
    const { session, sandbox } = shared;
    for (const name of snapshotsOf(sandbox)) {
      await session.snapshots.remove(name);
      await expect(session.snapshots.get(name)).rejects.toThrow(/not found/i);
      await expect(session.snapshots.remove(name)).rejects.toThrow(/not found/i);
    }
    const names = (await session.snapshots.list()).map(({ name }) => name);
    for (const name of snapshotsOf(sandbox)) expect(names).not.toContain(name);
  });
}
