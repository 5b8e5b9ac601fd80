import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Archive, type VolumeEntry, verifyArchive } from "../../../../cli/backup/archive";
import { ServerVolumes } from "../../../../cli/backup/volumes";
import { backupOf } from "../../../../cli/commands/backup";
import { restoreInto } from "../../../../cli/commands/restore";
import type { DeployedServer } from "../../../../cli/commands/sandbox";
import { createReporter, type Reporter } from "../../../../setup/report";
import { filesBelow } from "../../../harness/files";

const path = process.env.PATH;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-restore-"));
  process.env.PATH = `${folder}/bin:${path}`;
  write("bin/docker", docker(folder));
  // The real one waits for all that this machine writes.
  write("bin/sync", "#!/bin/sh\n");
  write("state/db/msb.db", "stack");
  write("state/sandboxes/a", "stack");
  write("workspace/own", "stack");
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

const write = (file: string, text: string) => {
  mkdirSync(join(folder, dirname(file)), { recursive: true });
  writeFileSync(join(folder, file), text, { mode: 0o755 });
};

/**
 * An engine with one server, whose containers run what they are asked to run: with the volumes in the test's folder, and
 * without compression, which the Node of the tests may not have. `stop-cut` and `wait-cut` end its client once. `stopped` while
 * the server is, `starts` of it, `trial` is the image of an upgrade that was interrupted, `at-work` while somebody works alone.
 */
const docker = (root: string) => `#!/bin/bash
cd "${root}"
words="\${*//$'\\n'/ }"
echo "\${words%% sh -c *}" >>calls
script=$(printf %s "\${@: -1}" | sed -E "s#node -e '[^']*'#cat#g; s#/var/lib/microsandbox#${root}/state#g; s#(^|[ =])/workspace#\\\\1${root}/workspace#g")
cut() { [ ! -e "$1-cut" ] || { rm "$1-cut"; exit 130; }; }
running() { [ -e stopped ] && echo false || echo true; }
case "$words" in
"run "*" --name server-at-work "*)
  [ ! -e at-work ] || { echo 'The container name "/server-at-work" is already in use by container "1".' >&2; exit 125; }
  touch at-work; bash --norc -c "$script"; rm -f at-work ;;
*"{{.Id}} {{.State.Running}}"*) echo "id $(running) $(cat starts 2>/dev/null | wc -l)" ;;
*State.Running*) running ;;
"ps "*-trial*) [ ! -e trial ] || cat trial ;;
inspect*"{{.Image}}"*) echo sha256:i ;;
inspect*Health*) echo running healthy ;;
inspect*) echo ;;
*Server.Version*) echo 26.1 amd64 ;;
"version "*) echo amd64 ;;
"stop "*) touch stopped; cut stop ;;
"start server") rm -f stopped; echo >>starts ;;
"ps "*) [ ! -e swapper ] || echo id ;;
"run --detach"*) bash --norc -c "$script" >swap-log; echo $? >swapper ;;
"wait "*) cut wait; cat swapper ;;
"logs "*) cat swap-log ;;
"rm server-swap") rm swapper ;;
"run "*" accepts "*) [ ! -e accepts ] || { cat accepts >&2; exit 1; } ;;
"run "*" sh -c "*) exec bash --norc -c "$script" ;;
esac
`;

const calls = () => readFileSync(join(folder, "calls"), "utf8");
const started = /^start server$/m;
const startedMeanwhile = "The server was started or replaced meanwhile";
/** What is on the volumes. */
const present = () => ({
  ...{ state: filesBelow(join(folder, "state")), workspace: filesBelow(join(folder, "workspace")) },
});
const before = { state: { "db/msb.db": "stack", "sandboxes/a": "stack" }, workspace: { own: "stack" } };
const after = { state: { "db/msb.db": "backup" }, workspace: { file: "backup" } };

/** A backup, of which this is read. */
function archiveOf(read: (name: VolumeEntry, whole: Buffer) => Readable): Archive {
  write("backup/state/db/msb.db", "backup");
  write("backup/workspace/file", "backup");
  const tar = (name: string) => spawnSync("tar", ["-C", join(folder, "backup", name), "-c", "."]).stdout;
  const whole = { "state.tar.zst": tar("state"), "workspace.tar.zst": tar("workspace") };
  const file = { bytes: 2 ** 20, sha256: "0".repeat(64), unpackedBytes: 2 ** 30 };
  const manifest = {
    ...{ format: 1 as const, createdAt: "2026-01-31T18:00:00Z", stack: "other", version: "0.7.11" },
    ...{ architecture: "amd64", engine: "26.1", files: { "state.tar.zst": file, "workspace.tar.zst": file } },
  };
  return { manifest, read: (name) => read(name, whole[name]) };
}
const intact = () => archiveOf((_name, whole) => Readable.from([whole]));

/** Runs a command beside the server. */
async function ran(
  command: (
    volumes: ServerVolumes,
    how: { stack: string; report: Reporter; signal: AbortSignal },
  ) => Promise<void>,
  signal = new AbortController().signal,
) {
  const said: string[] = [];
  const report = createReporter({ write: (line) => said.push(line) });
  const server = {
    stack: "dev",
    container: "server",
    connection: { kind: "local" },
  } as unknown as DeployedServer;
  const done = command(new ServerVolumes(server, report, signal), { stack: "dev", report, signal });
  const error = await done.then(() => undefined, String);
  return { error, said: said.join("\n") };
}
/** Restores with --force. */
const restored = (archive: Archive, signal?: AbortSignal) =>
  ran((volumes, how) => restoreInto(volumes, archive, { ...how, force: true }), signal);
const alone = (archive: Archive) =>
  ran((volumes, how) => volumes.alone(() => restoreInto(volumes, archive, { ...how, force: true })));

describe("a restore", () => {
  it("puts the backup in the place of what is there, and starts the server", async () => {
    expect(await restored(intact())).toMatchObject({ error: undefined });
    expect(present()).toEqual(after);
    expect(calls()).toMatch(/^stop server\n[\s\S]*^run --detach [\s\S]*^start server$/m);
    expect(existsSync(join(folder, "swapper"))).toBe(false);
  });

  it.each(["state.tar.zst", "workspace.tar.zst"])(
    "leaves nothing where %s can't be unpacked",
    async (broken) => {
      const damaged = (whole: Buffer) => Buffer.concat([whole.subarray(0, 1024), Buffer.alloc(1024, "x")]);
      const archive = archiveOf((name, whole) => Readable.from([name === broken ? damaged(whole) : whole]));
      expect((await restored(archive)).error).toMatch(`${broken} could not be unpacked on the host: `);
      expect(present()).toEqual(before);
      expect(existsSync(join(folder, "workspace/.restored"))).toBe(false);
      expect(existsSync(join(folder, "state/copies/.part"))).toBe(false);
      expect(calls()).toMatch(started);
    },
  );

  it("leaves nothing where it is interrupted", async () => {
    const interruption = new AbortController();
    const archive = archiveOf((name, whole) => {
      if (name === "state.tar.zst") return Readable.from([whole]);
      // Not all of it comes.
      const slow = new Readable({ read() {} });
      slow.push(whole.subarray(0, 600));
      setTimeout(() => interruption.abort(new Error("Interrupted.")), 100);
      return slow;
    });
    expect((await restored(archive, interruption.signal)).error).toMatch("Interrupted.");
    expect(present()).toEqual(before);
    expect(existsSync(join(folder, "workspace/.restored"))).toBe(false);
    expect(calls()).toMatch(started);
  });

  it("stops nothing where there is no room for both, which it says", async () => {
    write("bin/df", "#!/bin/sh\necho /dev/sda1 100 10 2097152 1% /\n");
    expect((await restored(intact())).error).toMatch(
      /Not enough disk space[\s\S]*2252 MiB are needed, 2048 MiB are free/,
    );
    expect(calls()).not.toMatch(/^stop/m);
    // What one has left that was cut off goes before.
    write("bin/du", "#!/bin/sh\nprintf '1048576\\ttotal\\n'\n");
    expect(await restored(intact())).toMatchObject({ error: undefined });
    expect(present()).toEqual(after);
  });

  it("starts the server where the client that stops it is cut off", async () => {
    write("stop-cut", "");
    expect(await restored(intact())).toMatchObject({ error: undefined });
    expect(calls()).toMatch(/^stop server\n(inspect.*\n)?stop server\n[\s\S]*^start server$/m);
    write("stop-cut", "");
    const interrupted = AbortSignal.abort(new Error("Interrupted."));
    expect((await restored(intact(), interrupted)).error).toMatch("Interrupted.");
    expect(calls()).toMatch(
      /^stop server\n(inspect.*\n)?stop server\nrm --force server-volumes\n[\s\S]*^start server$/m,
    );
  });

  it("starts the server once the swap has ended, though the client that waits for it was cut off", async () => {
    write("wait-cut", "");
    expect(await restored(intact())).toMatchObject({ error: undefined });
    expect(calls()).toMatch(/^wait server-swap\n(inspect.*\n)?wait server-swap\n[\s\S]*^start server$/m);
  });

  it("leaves the server stopped where the swap has not ended well, which the same command ends", async () => {
    // It meets a disk that is full, once all is unpacked.
    write("bin/mv", '#!/bin/sh\ncase "$*" in db*) exit 1 ;; esac\nexec /bin/mv "$@"\n');
    const { error, said } = await restored(intact());
    expect(error).toMatch("could not be put in its place");
    expect(said).toMatch(/stays stopped[\s\S]*To go on: the same command again/);
    expect(calls()).not.toMatch(started);
    rmSync(join(folder, "bin/mv"));
    expect(await restored(intact())).toMatchObject({ error: undefined });
    expect(present()).toEqual(after);
  });
});

describe("work on the server", () => {
  it("is done by one at a time, and by another one afterwards", async () => {
    let refused: Awaited<ReturnType<typeof alone>> | undefined;
    const done = await ran((volumes, how) =>
      volumes.alone(async () => {
        refused = await alone(intact());
        expect(calls()).not.toMatch(/^stop server$/m);
        await restoreInto(volumes, intact(), { ...how, force: true });
      }),
    );
    expect(done.error).toBe(undefined);
    expect(refused?.error).toMatch(
      /is at work on the server server\. Nothing was changed[\s\S]*docker rm --force server-at-work/,
    );
    expect(calls().match(/^stop server$/gm)).toHaveLength(1);
    expect(present()).toEqual(after);
    expect(existsSync(join(folder, "at-work"))).toBe(false);
    expect(await alone(intact())).toMatchObject({ error: undefined });
  });

  it("says what docker says where it can't begin", async () => {
    const { error } = await ran((volumes) => {
      write(
        "bin/docker",
        '#!/bin/sh\n[ "$1" != run ] || { echo "no space left on device" >&2; exit 125; }\n',
      );
      return volumes.alone(() => Promise.resolve());
    });
    expect(error).toMatch("docker run failed on the host: no space left on device");
  });

  it("does not begin after an upgrade that was interrupted, on a state that is not the server's", async () => {
    write("stopped", "");
    write("trial", "sha256:n\n");
    const { error } = await alone(intact());
    expect(error).toMatch(
      /interrupted before its container was replaced[\s\S]*First: npm run up -- --stack dev/,
    );
    expect(present()).toEqual(before);
    // Of one that has come to its end.
    write("trial", "sha256:i\n");
    expect(await alone(intact())).toMatchObject({ error: undefined });
  });

  it("does not put a backup below a server that was started meanwhile", async () => {
    const archive = intact();
    const read: Archive["read"] = (name) => {
      write("starts", "again\n");
      return archive.read(name);
    };
    expect((await restored({ ...archive, read })).error).toMatch(startedMeanwhile);
    expect(present()).toEqual(before);
  });
});

describe("whether the server takes a backup's version", () => {
  const asked = async () => {
    let answer: boolean | undefined;
    const { error } = await ran(async (volumes) => {
      answer = await volumes.accepts("0.9.1");
    });
    return answer ?? error;
  };

  it("is what the server says, and no failure of docker's", async () => {
    expect(await asked()).toBe(true);
    write("accepts", "microsandbox 0.7.11 is older than 0.9.1\n");
    expect(await asked()).toBe(false);
    write("accepts", "docker: Error response from daemon: no space left on device.\n");
    expect(await asked()).toMatch(/docker run failed on the host: .*no space left on device/);
  });
});

describe("a backup", () => {
  const half = () => {
    write("state/copies/.pending", "restored-20260131T180000Z\n");
    write("state/copies/restored-20260131T180000Z/db/msb.db", "backup");
    write("workspace/.restored/restored-20260131T180000Z/file", "backup");
  };
  const file = () => join(folder, "new.tar");
  const backedUp = () => ran((volumes, how) => backupOf(volumes, file(), how));

  it("is of the whole state, where a restore was cut off before", async () => {
    half();
    expect(await backedUp()).toMatchObject({ error: undefined });
    expect(present()).toEqual(after);
    expect(calls()).toMatch(started);
    write("state/db/msb.db", "other");
    expect(await restored(await verifyArchive(file(), () => {}))).toMatchObject({ error: undefined });
    expect(present()).toEqual(after);
  });

  it("is not kept where the server was started meanwhile", async () => {
    write("bin/du", `#!/bin/sh\necho >>"${folder}/starts"\nexec /usr/bin/du "$@"\n`);
    expect((await backedUp()).error).toMatch(startedMeanwhile);
    expect(existsSync(file())).toBe(false);
  });

  it("is not made of half a state, and the server stays stopped", async () => {
    half();
    write("bin/mv", "#!/bin/sh\nexit 1\n");
    expect((await backedUp()).error).toMatch("could not be put in its place");
    expect(existsSync(file())).toBe(false);
    expect(calls()).not.toMatch(started);
  });
});
