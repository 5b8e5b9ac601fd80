import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Plugin, secret, UNKNOWN, workshop } from "./plugin";

let shop: Awaited<ReturnType<typeof workshop>>;
let plugin: Plugin;
beforeAll(async () => {
  shop = await workshop();
  plugin = await Plugin.start(shop.executable);
});
afterAll(async () => {
  await plugin.stop();
  await shop.remove();
});
const file = (name: string) => join(shop.directory, name);

describe("create", () => {
  it("runs the command once and keeps its outputs beside its inputs", async () => {
    const inputs = { create: "echo out; echo err >&2", triggers: [1] };
    const { id, state } = await plugin.create(inputs);
    expect(state).toEqual({ ...inputs, stdout: "out", stderr: "err" });
    expect(id).toMatch(/^greeter[0-9a-f]{8}$/);
  });

  it("does nothing without a command", async () => {
    expect((await plugin.create({ delete: "true" })).state).toEqual({
      delete: "true",
      stdout: "",
      stderr: "",
    });
  });

  it("runs nothing in a preview, whose outputs are unknown", async () => {
    const inputs = { create: `touch ${file("previewed")}`, triggers: [UNKNOWN], environment: { A: UNKNOWN } };
    const { id, state } = await plugin.create(inputs, { preview: true });
    expect(state).toEqual({ ...inputs, stdout: UNKNOWN, stderr: UNKNOWN });
    expect(id).toBe("");
    expect(existsSync(file("previewed"))).toBe(false);
  });
});

describe("update", () => {
  const state = { create: "echo made", stdout: "made", stderr: "warned" };

  it("runs create again where there is no update command", async () => {
    const news = { create: "echo made again" };
    expect(await plugin.update(state, news)).toEqual({ ...news, stdout: "made again", stderr: "" });
  });

  it("runs the update command where there is one, with the previous output in its environment", async () => {
    const news = { create: "false", update: 'echo "$PULUMI_COMMAND_STDOUT, $PULUMI_COMMAND_STDERR"' };
    expect((await plugin.update(state, news)).stdout).toBe("made, warned");
  });

  it("leaves the previous output out where addPreviousOutputInEnv is false", async () => {
    const news = { update: 'echo "[$PULUMI_COMMAND_STDOUT]"', addPreviousOutputInEnv: false };
    expect((await plugin.update(state, news)).stdout).toBe("[]");
  });

  it("keeps the outputs where there is nothing to run", async () => {
    expect(await plugin.update(state, { delete: "true" })).toEqual({
      delete: "true",
      stdout: "made",
      stderr: "warned",
    });
  });

  it("runs nothing in a preview", async () => {
    const news = { update: `touch ${file("update-previewed")}` };
    const previewed = await plugin.update(state, news, { preview: true });
    expect(previewed).toEqual({ ...news, stdout: UNKNOWN, stderr: UNKNOWN });
    expect(existsSync(file("update-previewed"))).toBe(false);
  });
});

describe("delete", () => {
  it("runs the delete command with the state's environment and previous output", async () => {
    const log = file("deleted");
    const state = {
      delete: `echo "$WHO $PULUMI_COMMAND_STDOUT $PULUMI_COMMAND_STDERR" > ${log}`,
      environment: { WHO: secret("me") },
      stdout: secret("out"),
      stderr: "err",
    };
    await plugin.delete(state);
    expect(readFileSync(log, "utf8")).toBe("me out err\n");
  });

  it("fails where the command fails, so that the resource stays", async () => {
    await expect(plugin.delete({ delete: "exit 7", stdout: "", stderr: "" })).rejects.toThrow(
      "exit status 7",
    );
  });

  it("does nothing without a delete command", async () => {
    await plugin.delete({ create: "false", stdout: "", stderr: "" });
  });
});

describe("diff", () => {
  const inputs = { create: "make", triggers: ["a", { k: 1 }], environment: { A: "1" }, stdin: "x", dir: "/" };
  const state = { ...inputs, stdout: "", stderr: "" };

  it("finds nothing where nothing changed", async () => {
    expect(await plugin.diff(state, inputs, inputs)).toMatchObject({
      changed: false,
      diffs: [],
      replaces: [],
    });
  });

  it.each([
    ["create", { ...inputs, create: "other" }, { create: "UPDATE" }],
    ["an environment variable", { ...inputs, environment: { A: "2" } }, { "environment.A": "UPDATE" }],
    [
      "two variables with a name to quote",
      { ...inputs, environment: { "b.c": "2" } },
      { "environment.A": "DELETE", 'environment["b.c"]': "ADD" },
    ],
    ["stdin and dir", { ...inputs, stdin: "y", dir: "/tmp" }, { stdin: "UPDATE", dir: "UPDATE" }],
    ["an update command", { ...inputs, update: "remake" }, { update: "ADD" }],
    ["plain to secret", { ...inputs, stdin: secret("x") }, { stdin: "UPDATE" }],
    ["an unknown", { ...inputs, stdin: UNKNOWN }, { stdin: "UPDATE" }],
  ])("updates when %s changes", async (_what, news, detailed) => {
    const diff = await plugin.diff(state, news, inputs);
    expect(diff).toMatchObject({ changed: true, replaces: [], detailed });
    expect(Object.keys(diff.detailed)).toHaveLength(Object.keys(detailed).length);
  });

  it.each([
    ["changes", { ...inputs, triggers: ["b", { k: 1 }] }, { "triggers[0]": "UPDATE_REPLACE" }],
    ["changes inside", { ...inputs, triggers: ["a", { k: 2 }] }, { "triggers[1].k": "UPDATE_REPLACE" }],
    ["is added", { ...inputs, triggers: ["a", { k: 1 }, 0] }, { "triggers[2]": "ADD_REPLACE" }],
    ["is removed", { ...inputs, triggers: ["a"] }, { "triggers[1]": "DELETE_REPLACE" }],
    ["is unknown", { ...inputs, triggers: [UNKNOWN, { k: 1 }] }, { "triggers[0]": "UPDATE_REPLACE" }],
  ])("replaces when a trigger %s, the new resource first", async (_what, news, detailed) => {
    const diff = await plugin.diff(state, news, inputs);
    expect(diff).toMatchObject({ replaces: ["triggers"], deleteBeforeReplace: false, detailed });
  });

  it("compares assets by content", async () => {
    const asset = (hash: string, path: string) => ({
      "4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17",
      hash,
      path,
    });
    const olds = { triggers: [asset("1", "a")] };
    expect(await plugin.diff(olds, { triggers: [asset("1", "b")] }, olds)).toMatchObject({ changed: false });
    expect(await plugin.diff(olds, { triggers: [asset("2", "a")] }, olds)).toMatchObject({ changed: true });
  });

  it("takes the old inputs from the state where the engine doesn't send them, and heeds ignoreChanges", async () => {
    expect(await plugin.diff(state, inputs)).toMatchObject({ changed: false });
    const news = { ...inputs, stdin: "y" };
    expect(await plugin.diff(state, news, inputs, ["stdin"])).toMatchObject({ changed: false });
  });
});

describe("check", () => {
  it("passes inputs on as they are, secrets and unknowns too", async () => {
    const inputs = { create: secret("x"), environment: { A: UNKNOWN }, triggers: [1, "a", { b: [true] }] };
    expect(await plugin.check(inputs)).toEqual({ inputs, failures: [] });
  });

  it("names each wrong input and what is accepted", async () => {
    const { failures } = await plugin.check({ create: 1, environment: { A: 2 }, logging: "all", crate: "x" });
    expect(failures.map(({ reason }) => reason).sort()).toEqual([
      expect.stringMatching(/^crate is not known; known are triggers, create/),
      "create must be a string",
      "environment must be a map of strings",
      "logging must be one of stdout, stderr, stdoutAndStderr, none",
    ]);
  });
});

describe("the rest of the protocol", () => {
  it("keeps the state over a refresh", async () => {
    const inputs = { create: "false" };
    const state = { ...inputs, stdout: secret("s"), stderr: "" };
    expect(await plugin.read("greeter1", state, inputs)).toEqual({ id: "greeter1", state, inputs });
  });

  it("keeps secret inputs secret in the outputs", async () => {
    const inputs = { create: "echo $A", environment: { A: secret("hidden") }, stdin: secret("s") };
    expect((await plugin.create(inputs)).state).toEqual({ ...inputs, stdout: "hidden", stderr: "" });
  });

  it("has the vendor's version and takes secrets", async () => {
    expect(await plugin.info()).toBe("1.2.1");
    expect((await plugin.configure()).toObject()).toMatchObject({
      acceptsecrets: true,
      supportspreview: true,
    });
  });

  it("refuses what it does not have, and says what to install", async () => {
    const urn = "urn:pulumi:dev::project::command:remote:Command::far";
    await expect(plugin.check({}, urn)).rejects.toThrow(
      /command:remote:Command is not in this stand-in.*install/s,
    );
  });
});
