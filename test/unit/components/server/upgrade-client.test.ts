import type { ChildProcess } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Upgrade } from "./fake-upgrade";

const group = (signal: NodeJS.Signals) => (client: ChildProcess) => process.kill(-(client.pid ?? 0), signal);
const ends: [string, (client: ChildProcess) => void][] = [
  ["its shell is killed", (client) => client.kill("SIGKILL")],
  ["all of it is killed", group("SIGKILL")],
  ["Ctrl+C", group("SIGINT")],
  ["it is asked to end", group("SIGTERM")],
  // What sshd does to a command without a terminal.
  ["nobody reads any more", (client) => [client.stdout, client.stderr].map((stream) => stream?.destroy())],
];

describe("the old server comes back by itself where the upgrade's client ends:", () => {
  describe.each(ends)("%s", (_how, end) => {
    it.concurrent.each(["stop", "copy", "trial", "await", "boot"])("in the phase %s", async (phase) => {
      const upgrade = new Upgrade(phase);
      await upgrade.until(() => upgrade.has("reached"));
      end(upgrade.client);
      await upgrade.until(() => upgrade.isRunning());
      await upgrade.until(() => upgrade.left().length === 0);
      expect([upgrade.has("trial"), upgrade.has("at-work")]).toEqual([false, false]);
      const isBack = upgrade.calls().some((call) => call.includes("swap_pending"));
      expect(isBack).toBe(!["stop", "copy"].includes(phase));
      // Nothing may send the state back once more, when the old server has gone on with it.
      if (phase === "copy") expect(upgrade.calls().join("\n")).toMatch(/rm -f copies\/\.pending/);
    });
  });
});

describe("an upgrade that goes back to the copy of one that was never finished", () => {
  const found = ["0.7.11", "", "0.6.18-20260101T000000Z"];
  const goingBack = (slow: string, engine = {}) =>
    new Upgrade(slow, {}, found, true, { REFUSES: "0.7.11", ...engine });

  it.concurrent.each(["stop", "swap"])(
    "leaves all as it was where it is cut off in the phase %s",
    async (phase) => {
      const upgrade = goingBack(phase);
      await upgrade.until(() => upgrade.has("reached"));
      expect(upgrade.isRunning()).toBe(false);
      upgrade.client.kill("SIGKILL");
      await upgrade.until(() => upgrade.isRunning());
      const undone = upgrade
        .calls()
        .some((call) => /echo '0\.7\.11-\S+ 0\.6\.18-20260101T000000Z'/.test(call));
      expect(undone).toBe(phase === "swap");
    },
  );

  it("does not go back where docker fails: that is no word of the image's", async () => {
    const upgrade = goingBack("", { BROKEN: "0.7.11" });
    expect(await upgrade.ended()).toBe(1);
    expect(upgrade.output).toMatch(/is not known: docker: .*no space left on device[\s\S]*: pulumi up/);
    expect(upgrade.calls().filter((call) => call.startsWith("stop"))).toEqual([]);
    expect(upgrade.isRunning()).toBe(true);
  });

  it("does not start the server on half a state", async () => {
    const upgrade = goingBack("", { FAILS: "swap" });
    expect(await upgrade.ended()).toBe(1);
    expect(upgrade.output).toMatch(/Nothing of it is lost[\s\S]*stays stopped[\s\S]*to go on: pulumi up/);
    expect(upgrade.isRunning()).toBe(false);
  });
});

it("says what it does, and its result on the last line", async () => {
  const upgrade = new Upgrade("await");
  expect(await upgrade.ended(), upgrade.output).toBe(0);
  expect(upgrade.output).toMatch(
    /Stopping the server of 0\.6\.18[\s\S]*The new server is ready, and has booted a microVM/,
  );
  const report = JSON.parse(upgrade.output.trim().split("\n").at(-1) ?? "");
  expect(report).toMatchObject({ image: "sha256:new", from: "0.6.18" });
  expect(upgrade.left()).toEqual([]);
  // Nothing that is done to the server is done before or after.
  const calls = upgrade.calls().filter(Boolean);
  expect(calls[0]).toMatch(/^run --detach --rm .*--name server-at-work sha256:new sleep 3600 $/);
  const end = calls.findIndex((call) => call.startsWith("rm --force work-id"));
  expect(calls.slice(end + 1).filter((call) => !call.includes("{{.State.Running}}"))).toEqual([]);
});

it("does nothing beside another upgrade, a backup or a restore", async () => {
  const upgrade = new Upgrade("", {}, undefined, true, { BUSY: "1" });
  expect(await upgrade.ended()).toBe(1);
  expect(upgrade.output).toMatch(
    /^Refused: a backup, a restore or another upgrade is at work[\s\S]*: pulumi up\n.*docker rm --force server-at-work\n$/,
  );
  expect(upgrade.calls().filter((call) => !call.includes("--name server-at-work"))).toEqual([""]);
  expect([upgrade.isRunning(), upgrade.has("at-work")]).toEqual([true, true]);
});

it.each([
  [["0.6.18", "", ""], /The new server is ready, and has booted a microVM\.\n/],
  [["0.6.18", "0.6.17-20260101T000000Z", ""], /rolling back to the copy/],
])("stops and replaces no server where there is none, as after a destroy: %j", async (found, said) => {
  const upgrade = new Upgrade("", {}, found, false);
  expect(await upgrade.ended(), upgrade.output).toBe(0);
  expect(upgrade.output).toMatch(said);
  expect(upgrade.output).not.toMatch(/replacing|Stopping the server/);
  expect(JSON.parse(upgrade.output.trim().split("\n").at(-1) ?? "")).toMatchObject({ stoppedAt: 0 });
  expect(upgrade.calls()).not.toContainEqual(expect.stringMatching(/^(stop|start) server /));
});

describe("where nobody replaces the container after the trial", () => {
  const flags = {
    RUN_FLAGS: "--user 5555",
    SERVE_FLAGS: "--publish 127.0.0.1:5555:5555/tcp",
    NETWORK: "net",
  };
  /** @param happens what becomes of the old container: it is there and stopped */
  const left = async (happens: (upgrade: Upgrade) => void, variables = {}): Promise<Upgrade> => {
    const upgrade = new Upgrade("", { TAKE_OVER_SECONDS: 2, ...flags, ...variables });
    expect(await upgrade.ended(), upgrade.output).toBe(0);
    expect([upgrade.isRunning(), upgrade.has("trial")]).toEqual([false, true]);
    happens(upgrade);
    await upgrade.until(() => !upgrade.has("trial"));
    return upgrade;
  };

  it.concurrent("the old server is started again, on its state", async () => {
    const upgrade = await left(() => {});
    await upgrade.until(() => upgrade.isRunning());
    expect(upgrade.calls()).toContainEqual(expect.stringMatching(/^start server-id /));
    const goes = ["run --detach --rm", "rm claim", "swap_pending", "start server-id", "rm --force work-id"];
    await upgrade.until(() => !upgrade.has("at-work"));
    const calls = upgrade.calls().join("\n");
    const after = calls.lastIndexOf("{{.State.Running}}");
    const places = goes.map((call) => calls.indexOf(call, after));
    expect(places, calls).toEqual(places.filter((place) => place > 0).sort((a, b) => a - b));
  });

  it.concurrent("one of the new image takes its place where it is gone", async () => {
    const upgrade = await left((host) => rmSync(join(host.folder, "running")));
    await upgrade.until(() => upgrade.isRunning());
    const made = upgrade.calls().find((call) => call.startsWith("create --name server "));
    expect(made?.trim()).toMatch(
      /--user 5555 --publish 127\.0\.0\.1:5555:5555\/tcp .*-v workspace:\/workspace sha256:new$/,
    );
    expect(upgrade.calls().join("\n")).not.toContain("swap_pending");
  });

  it.concurrent("the one is started that was created in its place", async () => {
    const upgrade = await left((host) => writeFileSync(join(host.folder, "other"), ""));
    await upgrade.until(() => upgrade.isRunning());
    expect(upgrade.calls()).toContainEqual(expect.stringMatching(/^start server /));
  });

  it.concurrent("nothing is done where another one runs", async () => {
    const upgrade = await left((host) => writeFileSync(join(host.folder, "running"), "true"));
    expect(upgrade.calls()).not.toContainEqual(expect.stringMatching(/^(start|create --name server )/));
  });

  it.concurrent("nothing is done where another upgrade has begun", async () => {
    const upgrade = await left((host) => rmSync(join(host.folder, "trial")));
    await upgrade.until(() => upgrade.calls().filter((call) => call.startsWith("rm claim")).length > 0);
    await sleep(200);
    expect(upgrade.isRunning()).toBe(false);
    expect(upgrade.calls().join("\n")).not.toContain("swap_pending");
  });
});

it("prints nothing but the report where there is nothing to do", async () => {
  const upgrade = new Upgrade("", { IMAGE: "sha256:old" });
  expect(await upgrade.ended()).toBe(0);
  expect(upgrade.output).toBe('{"image":"sha256:old","from":"same","copy":"","stoppedAt":0}\n');
});

describe("an upgrade after one that was interrupted between its test and the replacement", () => {
  /** Nobody replaces the container, and the host still waits for that. */
  const interrupted = async (): Promise<Upgrade> => {
    const first = new Upgrade("", { TAKE_OVER_SECONDS: 60 });
    expect(await first.ended(), first.output).toBe(0);
    expect([first.isRunning(), first.has("trial")]).toEqual([false, true]);
    return first;
  };
  const then = (first: Upgrade, IMAGE: string, engine = {}) =>
    new Upgrade("", { IMAGE, BOOT: 0 }, ["0.6.18", "", ""], true, engine, first);
  /** The copies that were made the state again. */
  const backTo = (upgrade: Upgrade) => [
    ...upgrade
      .calls()
      .join("\n")
      .matchAll(/echo '([^']+)' >copies\/\.pending.* swap_pending /g),
  ];

  it.concurrent("goes back to the state before it, and starts the server, where that has the image again", async () => {
    const first = await interrupted();
    const back = then(first, "sha256:old");
    expect(await back.ended(), back.output).toBe(0);
    expect(back.output).toMatch(
      /going back to the state before it \(copies\/0\.6\.18-\S+\)[\s\S]*running again/,
    );
    expect(JSON.parse(back.output.trim().split("\n").at(-1) ?? "")).toMatchObject({ from: "same" });
    expect(backTo(back)).toHaveLength(1);
    expect([back.isRunning(), back.has("trial")]).toEqual([true, false]);
  });

  it.concurrent("goes back to it, and on from there, where the image is a third one", async () => {
    const third = then(await interrupted(), "sha256:third");
    expect(await third.ended(), third.output).toBe(0);
    expect(third.output).toMatch(/going back to the state before it[\s\S]*Copying the state[\s\S]*replacing/);
    expect(backTo(third)).toHaveLength(1);
  });

  it.concurrent("starts the server where that third one is refused", async () => {
    const third = then(await interrupted(), "sha256:third", { REFUSES: "0.6.18" });
    expect(await third.ended()).toBe(1);
    expect(third.output).toMatch(/going back[\s\S]*Refused: [\s\S]*running again/);
    expect(third.isRunning()).toBe(true);
  });

  it.concurrent("leaves the state alone where the server has been started since", async () => {
    const first = await interrupted();
    writeFileSync(join(first.folder, "starts"), "again\n");
    const back = then(first, "sha256:old");
    expect(await back.ended(), back.output).toBe(0);
    expect(backTo(back)).toEqual([]);
  });
});

describe("what a server may have written on its volume to be run by root", () => {
  const attack = "x'; touch /state/owned; '";
  it.each([
    ["the version", [attack, "", ""]],
    ["a pending copy", ["0.6.18", attack, ""]],
    ["the name of what a pending copy replaces", ["0.6.18", "0.6.17-20260101T000000Z ../x", ""]],
    ["an unproven copy", ["0.6.18", "", "0.6.17$(id)"]],
    ["another folder", ["0.6.18", "", ".."]],
    ["a version of two lines", ["0.6.18\n$(id)", "", ""]],
  ])("is refused before anything is done: %s", async (_what, found) => {
    const upgrade = new Upgrade("", {}, found);
    expect(await upgrade.ended()).toBe(1);
    expect(upgrade.output).toContain("Refused: ");
    expect(upgrade.output).toContain(
      "holds text that no server writes there. The server and its state were not changed.",
    );
    expect(upgrade.isRunning()).toBe(true);
    expect(upgrade.calls().join("\n")).not.toMatch(/touch|\$\(id\)|\.\.\/x/);
  });

  it("is taken where it has the form of versions and copies", async () => {
    const upgrade = new Upgrade("", {}, ["0.7.11-beta.1", "", "0.6.18-20260101T000000Z"]);
    expect(await upgrade.ended(), upgrade.output).toBe(0);
  });
});
