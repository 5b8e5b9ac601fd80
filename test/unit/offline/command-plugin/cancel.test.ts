import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GRACE_SECONDS } from "../../../../offline/command-plugin/process-group";
import { Plugin, workshop } from "./plugin";

const plugins: Plugin[] = [];
let shop: Awaited<ReturnType<typeof workshop>>;
beforeAll(async () => {
  shop = await workshop();
});
afterAll(async () => {
  await Promise.all(plugins.map((plugin) => plugin.stop()));
  await shop.remove();
});

/** A plugin of its own for a test, since most of them end it. */
async function start(): Promise<Plugin> {
  const plugin = await Plugin.start(shop.executable);
  plugins.push(plugin);
  return plugin;
}

/** A command that never ends by itself, and tells the ids of its shell and of a child of that. */
function endless(name: string, prelude = "") {
  const file = join(shop.directory, name);
  const create = `${prelude} sleep 600 & echo $$ $! > ${file}.part; mv ${file}.part ${file}; wait; sleep 600`;
  const pids = async () => {
    const text = await eventually(() => readFileSync(file, "utf8"));
    return text.trim().split(" ").map(Number);
  };
  return { create, pids };
}

async function eventually<T>(attempt: () => T): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return attempt();
    } catch (error) {
      if (tries > 300) throw error;
      await sleep(20);
    }
  }
}

async function gone(pids: number[]): Promise<void> {
  expect(pids).toHaveLength(2);
  await eventually(() => {
    for (const pid of pids) if (runs(pid)) throw new Error(`process ${pid} still runs`);
  });
}

function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe.concurrent("a running command ends, with all that it started,", () => {
  it("when the engine cancels; after that nothing is started", async () => {
    const plugin = await start();
    const { create, pids } = endless("cancelled");
    const failure = plugin.create({ create: `echo begun; ${create}` }).catch((error) => error.details);
    const running = await pids();
    const asked = Date.now();
    await plugin.cancel();
    expect(await failure).toMatch(/^signal: terminated \(cancelled\): running .*\nbegun\n$/s);
    await gone(running);
    expect(Date.now() - asked).toBeLessThan(GRACE_SECONDS * 1000); // at the request, not by force
    await expect(plugin.create({ create: "true" })).rejects.toThrow('cancelled: running "true"');
  });

  it("by force when it ignores the request, even though the plugin is killed meanwhile", async () => {
    const plugin = await start();
    const { create, pids } = endless("stubborn", "trap '' TERM;");
    const failure = plugin.create({ create }).catch((error) => error.message);
    const running = await pids();
    await plugin.cancel();
    await plugin.stop();
    expect(await failure).toBeDefined();
    expect(running.filter(runs)).toEqual(running);
    await gone(running);
  });

  it("when its time is up", async () => {
    const plugin = await start();
    const { create, pids } = endless("late");
    await expect(plugin.create({ create }, { timeout: 1 })).rejects.toThrow(
      "signal: terminated (timed out after 1 s)",
    );
    await gone(await pids());
    expect((await plugin.create({ create: "echo next" })).state.stdout).toBe("next");
  });

  it.each(["SIGTERM", "SIGINT"] as const)("when the plugin gets %s", async (signal) => {
    const plugin = await start();
    const { create, pids } = endless(signal);
    const failure = plugin.create({ create }).catch((error) => error.message);
    const running = await pids();
    plugin.process.kill(signal);
    await once(plugin.process, "exit");
    expect(await failure).toBeDefined();
    await gone(running);
  });

  it("when the engine is killed", async () => {
    const marker = join(shop.directory, "orphan");
    // A shell stands for the engine: it starts the plugin and is then killed.
    const script = `"$1" 127.0.0.1:1 > ${marker} & echo $! > ${marker}.pid; wait`;
    const engine = spawn("/bin/sh", ["-c", script, "engine", shop.executable], { stdio: "ignore" });
    await eventually(() => expect(readFileSync(marker, "utf8")).toMatch(/\n/));
    const pid = Number(readFileSync(`${marker}.pid`, "utf8"));
    expect(runs(pid)).toBe(true);
    engine.kill("SIGKILL");
    await eventually(() => expect(runs(pid)).toBe(false));
  });
});
