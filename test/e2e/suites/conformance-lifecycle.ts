import { expect, it } from "vitest";
import type { Refused, Session } from "../clients/session";
import { limit, type Shared } from "./conformance-shared";

/** What the server says about each. */
const reasons: Record<Refused, RegExp> = {
  "bind mount": /mounts\[0\]: bind names a path of the server/,
  "patch from a file": /patches\[0\]: copy_file names a path of the server/,
  "secret from the environment": /secrets.*server's environment/,
};

/** What is refused while the sandbox runs, and how it is listed. */
export function refusalCases(shared: Shared): void {
  it("lists it, also by its labels", limit, async () => {
    const { session, sandbox } = shared;
    const listed = { name: sandbox, status: "running" };
    expect(await session.list()).toContainEqual(listed);
    expect(await session.list({ suite: sandbox })).toEqual([listed]);
    expect(await session.list({ suite: "another" })).toEqual([]);
  });

  it("takes no name twice", limit, async () => {
    const { session, sandbox } = shared;
    await expect(session.create(sandbox)).rejects.toThrow(/already exists/);
    expect(await session.status(sandbox)).toBe("running");
  });

  it.each(shared.client.refused)("gets a sentence about a %s, and no sandbox", limit, async (option) => {
    const { session, sandbox } = shared;
    const name = `${sandbox}-refused`;
    const refusal = session.createRefused(name, option);
    // The clients' word for a status of 400.
    await expect(refusal).rejects.toThrow(/invalid config: POST \/v1\/sandboxes:/);
    await expect(refusal).rejects.toThrow(reasons[option]);
    expect(await namesOf(session)).not.toContain(name);
  });

  it("is refused with a wrong key", limit, async (context) => {
    if (!shared.server.key) {
      console.log("Skipped, since a server in dev mode checks no keys: is refused with a wrong key");
      context.skip("a server in dev mode checks no keys");
    }
    const wrong = await shared.open({ key: `${shared.server.key}-wrong` });
    try {
      await expect(wrong.list()).rejects.toThrow(/401/);
      await expect(wrong.exec(shared.sandbox, ["true"]).then(failed)).rejects.toThrow(/401/);
    } finally {
      await wrong.close();
    }
  });
}

/** Over TLS with a private authority; nothing where the server speaks plain http. */
export function trustCases(shared: Shared): void {
  it("does not talk to a server whose authority it was not told of", limit, async (context) => {
    if (!shared.server.authority) {
      console.log("Skipped, since the server speaks plain http: does not talk to one of another authority");
      return context.skip("the server speaks plain http");
    }
    const stranger = await shared.open({ trusting: false });
    try {
      await expect(stranger.list()).rejects.toThrow();
    } finally {
      await stranger.close();
    }
  });
}

/** Log, stop and start. */
export function logCases(shared: Shared): void {
  it("resumes a log where it was left", limit, async (context) => {
    const { client, session, sandbox } = shared;
    if (!session.resume) {
      console.log(`Skipped, since the ${client.label} shows no cursors: resumes a log where it was left`);
      return context.skip("the client shows no cursors");
    }
    expect(await session.resume(sandbox)).toBe(true);
  });

  it("follows the log until the sandbox stops", limit, async () => {
    const { session, sandbox } = shared;
    await session.exec(sandbox, ["echo", "before following"]);
    const log = await session.follow(sandbox);
    try {
      await log.waitFor("before following");
      await session.exec(sandbox, ["sh", "-c", "echo written while following; echo errors too >&2"]);
      await log.waitFor("written while following");
      await log.waitFor("errors too");
      await session.exec(sandbox, ["sh", "-c", "echo kept > /root/kept"]);
      await session.stop(sandbox);
      await log.ended();
    } finally {
      await log.close();
    }
    expect(await session.status(sandbox)).toBe("stopped");
  });

  it("starts again with its disk, and is the same sandbox", limit, async () => {
    const { session, sandbox } = shared;
    const before = await session.identity?.(sandbox);
    await session.start(sandbox);
    expect(await session.status(sandbox)).toBe("running");
    const { stdout } = await session.exec(sandbox, ["sh", "-c", 'cat /root/kept; echo "$PWD $GREETING"']);
    expect(stdout).toBe("kept\n/etc hello there\n");
    expect(await session.identity?.(sandbox)).toEqual(before);
  });
}

/** The end of the sandbox, and one that is gone after its command. */
export function endCases(shared: Shared): void {
  it("deletes it", limit, async () => {
    const { session, sandbox } = shared;
    await session.stop(sandbox);
    await session.remove(sandbox);
    expect(await namesOf(session)).not.toContain(sandbox);
    await expect(session.status(sandbox)).rejects.toThrow(/not found/);
    await expect(session.exec(sandbox, ["true"]).then(failed)).rejects.toThrow(/not found/);
  });

  it("runs a command in a sandbox that is gone afterwards", limit, async () => {
    const { session, sandbox } = shared;
    const before = await namesOf(session);
    const ran = await session.ephemeral(`${sandbox}-once`, "echo out; echo err >&2; exit 4");
    expect(ran).toMatchObject({ exitCode: 4, stdout: "out\n" });
    expect(ran.stderr.split(/\r?\n/)).toContain("err");
    expect(ran.stderr).not.toMatch(/warn|failed/i);
    // The client leaves as soon as it has asked for the stop; the removal follows.
    await expect.poll(() => namesOf(session), { timeout: 30_000, interval: 500 }).toEqual(before);
  });
}

const namesOf = async (session: Session) => (await session.list()).map(({ name }) => name).sort();

/** A command line that fails returns its exit code and words instead of throwing. */
function failed({ exitCode, stderr }: { exitCode: number; stderr: string }): void {
  if (exitCode !== 0) throw new Error(stderr);
}
