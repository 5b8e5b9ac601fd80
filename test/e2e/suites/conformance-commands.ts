import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Session } from "../clients/session";
import { limit, type Shared } from "./conformance-shared";

const MIB = 1024 * 1024;

/** Waits in the guest until the terminal has the size asked for: a resize arrives when it arrives. */
const awaitSize = (size: string) =>
  `tries=0; until [ "$(stty size)" = "${size}" ] || [ $tries = 100 ]; do tries=$((tries + 1)); sleep 0.1; done`;

/** Commands, terminals and files in a running sandbox with workdir /etc and a variable GREETING. */
export function commandCases(shared: Shared): void {
  it("runs a command: exit code, and stdout and stderr apart", limit, async () => {
    const { session, sandbox } = shared;
    const ran = await session.exec(sandbox, ["sh", "-c", "echo out; echo err >&2; exit 7"]);
    expect(ran).toEqual({ exitCode: 7, stdout: "out\n", stderr: "err\n" });
  });

  it("gives a command its standard input, to the end", limit, async () => {
    const { session, sandbox } = shared;
    const text = `${"a line of some length\n".repeat(10_000)}ä last line without an end`;
    const ran = await session.exec(sandbox, ["sha256sum"], { stdin: text });
    expect(ran.stdout.split(" ")[0]).toBe(sha256(text));
  });

  it("runs commands of two processes side by side", limit, async () => {
    const { session, sandbox } = shared;
    // Each waits for the other, so that one after the other neither would end well.
    const meet = (mine: string, other: string) =>
      `touch /tmp/${mine}; for try in $(seq 100); do [ -e /tmp/${other} ] && exit 0; sleep 0.2; done; exit 1`;
    const another = await shared.open();
    try {
      const ran = await Promise.all([
        session.exec(sandbox, ["sh", "-c", meet("first", "second")]),
        another.exec(sandbox, ["sh", "-c", meet("second", "first")]),
      ]);
      expect(ran.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    } finally {
      await another.close();
    }
  });

  it("keeps the sandbox's workdir and environment, and takes a command's own", limit, async () => {
    const { session, sandbox } = shared;
    expect(await whereAndWhat(session, sandbox)).toBe("/etc hello there");
    const own = { cwd: "/tmp", env: { GREETING: "good bye", OTHER: "1" } };
    expect(await whereAndWhat(session, sandbox, own)).toBe("/tmp good bye");
  });

  it("knows both after another process has connected by name", limit, async () => {
    const another = await shared.open();
    try {
      expect(await whereAndWhat(another, shared.sandbox)).toBe("/etc hello there");
    } finally {
      await another.close();
    }
  });

  it("resizes a terminal and takes what is typed into it", limit, async () => {
    const { session, sandbox } = shared;
    const script = `stty size; read -r line; ${awaitSize("33 101")}; echo "typed: $line"; stty size; exit 5`;
    const ran = await session.terminal(sandbox, script, { rows: 33, columns: 101, line: "hello" });
    const lines = ran.stdout.split(/\r?\n/).filter(Boolean);
    expect(lines.at(0)).toBe("24 80");
    expect(lines.slice(-2)).toEqual(["typed: hello", "33 101"]);
    expect(ran.exitCode).toBe(5);
  });

  const sizes = [
    ["an empty file", 0],
    ["a file of 1 byte", 1],
    ["a file of 3 MB", 3 * MIB],
  ] as const;
  it.each(sizes)("carries %s there and back", limit, async (_what, size) => {
    const { session, sandbox, folder } = shared;
    const sent = randomBytes(size);
    await writeFile(join(folder, "sent"), sent);
    await session.upload(sandbox, join(folder, "sent"), "/root/carried");
    const seen = await session.exec(sandbox, ["sha256sum", "/root/carried"]);
    expect(seen.stdout.split(" ")[0]).toBe(sha256(sent));

    await session.download(sandbox, "/root/carried", join(folder, "received"));
    expect(sha256(await readFile(join(folder, "received")))).toBe(sha256(sent));
  });

  it("says which file is missing", limit, async () => {
    const { session, sandbox, folder } = shared;
    const missing = session.download(sandbox, "/root/missing", join(folder, "missing"));
    await expect(missing).rejects.toThrow(/not found|no such file|stat .root.missing/i);
  });
}

async function whereAndWhat(session: Session, sandbox: string, own = {}): Promise<string> {
  const { stdout } = await session.exec(sandbox, ["sh", "-c", 'echo "$PWD $GREETING"'], own);
  return stdout.trim();
}

const sha256 = (content: Buffer | string) => createHash("sha256").update(content).digest("hex");
