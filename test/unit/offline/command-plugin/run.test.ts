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

describe("inputs", () => {
  it("adds the environment to the plugin's own", async () => {
    const { result } = await plugin.invoke({ command: 'echo "$A, $HOME"', environment: { A: "a b'$" } });
    expect(result.stdout).toBe(`a b'$, ${process.env.HOME}`);
  });

  it("hands over stdin, and an empty one where there is none", async () => {
    expect((await plugin.invoke({ command: "wc -c", stdin: "12345" })).result.stdout).toBe("5");
    expect((await plugin.invoke({ command: "cat" })).result.stdout).toBe("");
  });

  it("does not mind a command that ignores a large stdin", async () => {
    const { result } = await plugin.invoke({ command: "echo done", stdin: "x".repeat(1_000_000) });
    expect(result.stdout).toBe("done");
  });

  it("runs in the given directory", async () => {
    expect((await plugin.invoke({ command: "pwd", dir: shop.directory })).result.stdout).toBe(shop.directory);
    await expect(plugin.invoke({ command: "pwd", dir: "/nowhere" })).rejects.toThrow(
      'chdir /nowhere: no such file or directory: running "pwd"',
    );
  });

  it("runs /bin/sh, or the interpreter", async () => {
    expect((await plugin.invoke({ command: "echo $0" })).result.stdout).toBe("/bin/sh");
    const node = { command: "console.log(6 * 7)", interpreter: [process.execPath, "-e"] };
    expect((await plugin.invoke(node)).result.stdout).toBe("42");
    await expect(plugin.invoke({ command: "x", interpreter: ["no-such-shell"] })).rejects.toThrow(
      'exec: "no-such-shell": executable file not found in $PATH: running "x"',
    );
  });

  it("returns an invoke's arguments, and runs nothing while one is unknown", async () => {
    const args = { command: "echo $A", environment: { A: secret("s") } };
    expect((await plugin.invoke(args)).result).toEqual({ ...args, stdout: "s", stderr: "" });
    const { result } = await plugin.invoke({ command: UNKNOWN });
    expect(result).toEqual({ command: UNKNOWN, stdout: UNKNOWN, stderr: UNKNOWN });
    expect((await plugin.invoke({})).failures).toEqual([
      { property: "command", reason: "command is missing" },
    ]);
  });
});

describe("failures", () => {
  it("tells the exit code, the command and what it printed, as the vendor does", async () => {
    await expect(plugin.create({ create: 'echo one; echo "two" >&2; exit 3' })).rejects.toMatchObject({
      code: 2,
      details: 'exit status 3: running "echo one; echo \\"two\\" >&2; exit 3":\none\ntwo\n',
    });
    await expect(plugin.update({ stdout: "", stderr: "" }, { create: "kill -9 $$" })).rejects.toThrow(
      'signal: killed: running "kill -9 $$"',
    );
  });

  it("keeps secrets out of the error", async () => {
    const inputs = {
      create: secret('echo "$A"; echo hush-hush; false'),
      environment: { A: secret("top\nsecret") },
    };
    await expect(plugin.create(inputs)).rejects.toMatchObject({
      details: 'exit status 1: running "[secret]":\n[secret]\nhush-hush\n',
    });
  });

  it.each([
    ["text", "seq 200000"],
    ["bytes that are not text", "head -c 200000 /dev/urandom"],
    ["multi-byte text", `yes ${"ä€😀".repeat(50)} | head -c 200000`],
  ])("shows only the end of much output: %s", async (_what, command) => {
    const details = await plugin
      .create({ create: `${command}; echo the end; exit 1`, logging: "none" })
      .catch((e) => e.details);
    expect(details).toMatch(/^exit status 1: running .*the end\n$/s);
    expect(Buffer.byteLength(details)).toBeLessThan(20_000);
  });

  it("says why previous output that is too large for the environment fails, and the way out", async () => {
    const state = { stdout: "x".repeat(200_000), stderr: "" };
    await expect(plugin.update(state, { update: "true" })).rejects.toThrow(
      /argument list too long .*addPreviousOutputInEnv: false/,
    );
    await plugin.update(state, { update: "true", addPreviousOutputInEnv: false });
  });
});

describe("output", () => {
  it("takes off one line end", async () => {
    expect((await plugin.invoke({ command: "printf 'a\\n\\n'" })).result.stdout).toBe("a\n");
  });

  it("takes megabytes", async () => {
    const { result } = await plugin.invoke({ command: "yes 1234567 | head -c 8000000", logging: "none" });
    expect(String(result.stdout)).toHaveLength(7_999_999);
  });

  it("replaces bytes that are not UTF-8", async () => {
    expect((await plugin.invoke({ command: "printf 'a\\377b'" })).result.stdout).toBe("a\ufffdb");
  });

  it("waits for what a background process prints", async () => {
    expect((await plugin.invoke({ command: "(sleep 0.2; echo late) &" })).result.stdout).toBe("late");
  });
});

describe("logging", () => {
  it.each([
    [undefined, ["err", "out"]],
    ["stdoutAndStderr", ["err", "out"]],
    ["stdout", ["out"]],
    ["stderr", ["err"]],
    ["none", []],
  ])("%s", async (logging, expected) => {
    plugin.logged.length = 0;
    const { state } = await plugin.create({ create: "echo out; echo err >&2", ...(logging && { logging }) });
    expect(plugin.logged.map(({ message }) => message).sort()).toEqual(expected);
    expect(state).toMatchObject({ stdout: "out", stderr: "err" });
  });

  it("shows status lines beside their resource, in order, with no secret in them", async () => {
    plugin.logged.length = 0;
    await plugin.create({ create: "echo 1; echo $A; printf 3", environment: { A: secret("hush") } });
    const common = { urn: expect.stringContaining("::greeter"), ephemeral: true, severity: 1 };
    const lines = ["1", "[secret]", "3"].map((message) => expect.objectContaining({ message, ...common }));
    expect(plugin.logged).toEqual(lines);
  });
});
