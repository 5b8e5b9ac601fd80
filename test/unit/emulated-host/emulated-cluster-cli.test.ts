import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { runCommand } from "../../../setup/engine/run-command";
import { freePort } from "../../harness/stack";

const folder = join(__dirname, "../../../emulated-host/cluster");
const script = join(folder, "emulated-cluster.sh");
const isRoot = process.platform === "linux" && process.getuid?.() === 0;

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "emulated-cluster-cli-"));
});
afterEach(() => rmSync(home, { recursive: true }));

const own = () => ({ XDG_DATA_HOME: join(home, "data"), XDG_CACHE_HOME: join(home, "cache") });

/** Runs the script with folders of its own, so that no cluster of the user is seen or touched. */
const emulatedCluster = (args: string[], env: Record<string, string> = {}) =>
  runCommand("bash", [script, ...args], { env: { ...own(), ...env } });

/** Runs lines with the functions of the script, which does nothing by itself then. */
const withFunctions = (lines: string) =>
  execFileSync(
    "bash",
    ["-c", `set -- --help; . ${script} >/dev/null; select_cluster try; mkdir -p "$CLUSTER_DIR"\n${lines}`],
    {
      env: { ...process.env, ...own() },
      encoding: "utf8",
    },
  );

/** A folder with programs of these names, which do nothing. */
function programs(names: readonly string[]): string {
  const bin = join(home, "bin");
  mkdirSync(bin, { recursive: true });
  for (const name of names) symlinkSync("/bin/true", join(bin, name));
  return bin;
}

describe.skipIf(process.platform !== "linux")("emulated-cluster.sh", () => {
  const errors: [string, string[], string][] = [
    ["no command", [], "Usage: emulated-cluster.sh COMMAND"],
    ["an unknown command", ["lunch"], "there is no command lunch"],
    ["a name that leaves the folder", ["delete", "../other"], '"../other" is not a valid name'],
    ["ensure without a port", ["ensure", "box"], "ensure needs --port PORT"],
    ["no nodes", ["ensure", "box", "--port", "5555", "--nodes", "0"], "--nodes 0: expected a whole number"],
    [
      "ten nodes",
      ["ensure", "box", "--port", "5555", "--nodes", "10"],
      "--nodes 10: expected a whole number",
    ],
    ["an owner of words", ["ensure", "box", "--port", "5555", "--owner", "a b"], "--owner a b: expected"],
    ["an option without a value", ["ensure", "box", "--port"], "--port needs a value"],
  ];
  it.each(errors)("says what is wrong with %s", async (_, args, message) => {
    const { code, stderr } = await emulatedCluster(args);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) });
    expect(readdirSync(home)).toEqual([]);
  });

  it("knows a cluster that was never made, and removes it all the same", async () => {
    const status = await emulatedCluster(["status", "none"]);
    expect(JSON.parse(status.stdout)).toEqual({
      ...{ running: false, generation: 0, wanted: 1, owner: "" },
      kubeconfig: join(home, "data/microsandbox-stack/emulated-clusters/none/kubeconfig"),
    });
    expect(await emulatedCluster(["delete", "none"])).toMatchObject({ code: 0 });
    expect(await emulatedCluster(["kubectl", "none", "get", "nodes"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("there is no cluster none"),
    });
  });

  it("gives each who uses the API a token and a certificate of their own, once", () => {
    const lines = "ensure_keys; cat $CLUSTER_DIR/keys/tokens.csv; kubeconfig system:node:node-2 https://x:1";
    const [first, second] = [withFunctions(lines), withFunctions(lines)];
    expect(second).toBe(first);
    const [tokens = "", config = ""] = first.split(/(?=apiVersion)/);
    const rows = tokens
      .trim()
      .split("\n")
      .map((line) => line.split(","));
    expect(new Set(rows.map(([token]) => token)).size).toBe(rows.length);
    const [token] = rows.find(([, name]) => name === "system:node:node-2") ?? [];
    expect(parse(config).users).toEqual([{ name: "system:node:node-2", user: { token } }]);
    const keys = join(home, "data/microsandbox-stack/emulated-clusters/try/keys");
    const checked = execFileSync(
      "openssl",
      ["verify", "-CAfile", "ca.pem", "api.pem", "kubelet-client.pem"],
      {
        cwd: keys,
        encoding: "utf8",
      },
    );
    expect(checked).toBe("api.pem: OK\nkubelet-client.pem: OK\n");
  });

  it("starts nodes on ports of their own, and leaves them nothing of the cluster's lock", () => {
    const lines = `PARTS=/parts MEMORY_MIB=1024 DISK_GIB=2 NODES=9
      inside() { [[ $3 != start ]] || echo "$4 $6 $(locks)" >&2; }
      locks() { ls -l /proc/$BASHPID/fd | grep -c 'try.lock$'; }
      lock_cluster; locks
      node_settings() { :; }; node_ssh() { cat >/dev/null; }
      for ((number = 1; number <= NODES; number++)); do start_node "$number" 2>&1; done`;
    const [here, ...starts] = withFunctions(lines).trim().split("\n");
    expect(here).toBe("1");
    expect(starts.map((line) => line.replace(/ \d+ /, " "))).toEqual(
      Array.from({ length: 9 }, (_, at) => `node-${at + 1} 0`),
    );
    expect(new Set(starts.map((line) => line.split(" ")[1])).size).toBe(9);
  });
});

describe.skipIf(!isRoot)("emulated-cluster.sh of root", () => {
  it("names the programs that are missing, and makes nothing", async () => {
    const { code, stderr } = await emulatedCluster(["ensure", "box", "--port", "5555"], {
      PATH: `${programs(["etcd", "unused"])}:/usr/sbin:/usr/bin:/bin`,
      CNI_FOLDER: join(home, "none"),
    });
    expect(code).toBe(3);
    expect(stderr).toMatch(/not on PATH, of Kubernetes' programs: coredns.* kubelet/);
    expect(stderr).toContain("apt-get install containernetworking-plugins");
    expect(readdirSync(home)).toEqual(["bin"]);
  });

  it("makes a network in which its programs are alone, again after it is gone, and removes it with them", () => {
    const name = `try-${process.pid}`;
    const lines = `NAME=${name} NETNS=/run/netns/emulated-cluster-${name} NODES=2
      lock_cluster
      trap remove_network EXIT
      ensure_network; ensure_network
      inside ip -brief link | awk '{print $1}' | sort | xargs
      mkdir -p "$CLUSTER_DIR/run"
      launch one nsenter --net="$NETNS" sleep 100; launch one nsenter --net="$NETNS" sleep 100
      ip netns pids emulated-cluster-${name} | wc -l
      pid=$(process_of one); launch one nsenter --net="$NETNS" sleep 101; [[ $(process_of one) != "$pid" ]] && echo another
      remove_network; process_of one >/dev/null || echo ended
      ensure_network; inside ip -brief link | wc -l; remove_network; [[ -e $NETNS ]] || echo removed`;
    expect(withFunctions(lines).trim().split("\n")).toEqual([
      "bridge lo node-1 node-2",
      "1",
      "another",
      "ended",
      "4",
      "removed",
    ]);
  });
});

describe.skipIf(!isRoot)("forward.mjs", () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  it("ends the cluster's start, before any node boots, where its port is another program's", async () => {
    server = createServer();
    await new Promise<void>((ready) => server?.listen(0, "127.0.0.1", ready));
    const { port: taken } = server.address() as AddressInfo;
    const free = await freePort();
    const lines = (
      port: number,
    ) => `lock_cluster; NETNS=/proc/self/ns/net NODES=1 ADDRESS=127.0.0.1 PORT=${port}
      kubeconfig() { :; }; tool() { echo true; }; mkdir -p "$CLUSTER_DIR/run"
      trap 'for each in forward-api forward-service; do end_process "$each"; done' EXIT
      (ensure_forwards 2>&1) && echo nodes`;
    const says = new RegExp(`port ${taken} of 127.0.0.1 is taken.*port ${taken} of 127.0.0.1: not done`, "s");
    const said = withFunctions(`${lines(taken)} || :`);
    expect(said).toMatch(says);
    expect(said).not.toMatch(/^nodes$/m);
    expect(withFunctions(lines(free)).trim()).toBe("nodes");
  });

  it("leaves no half: one whose other half ends while it starts ends, too", async () => {
    server = createServer();
    await new Promise<void>((ready) => server?.listen(0, "127.0.0.1", ready));
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const words = [join(folder, "forward.mjs"), "127.0.0.1", "1", "/proc/self/ns/net", "127.0.0.1:1"];
    const half = spawn(process.execPath, words, { stdio: ["ignore", "ignore", "ignore", fd, "ipc"] });
    half.disconnect();
    const killed = setTimeout(() => half.kill("SIGKILL"), 20_000);
    expect(await new Promise((resolve) => half.once("exit", resolve))).toBe(0);
    clearTimeout(killed);
  });

  it("joins a port with the first target that answers, and ends as a whole", async () => {
    server = createServer((request, response) => request.pipe(response));
    await new Promise<void>((ready) => server?.listen(0, "127.0.0.1", ready));
    const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const port = await freePort();
    const closed = `127.0.0.1:${await freePort()}`;
    const words = ["127.0.0.1", String(port), "/proc/self/ns/net", closed, target];
    const forward = spawn(process.execPath, [join(folder, "forward.mjs"), ...words], { stdio: "inherit" });
    const sent = Buffer.alloc(1_000_000, "x");
    const ask = async () => {
      const answer = await fetch(`http://127.0.0.1:${port}`, { method: "POST", body: sent });
      return (await answer.arrayBuffer()).byteLength;
    };
    const refused = () => ask().catch(() => "refused");
    try {
      await expect.poll(refused, { timeout: 20_000 }).toBe(sent.length);
      const answers = await Promise.all(Array.from({ length: 20 }, ask));
      expect(new Set(answers)).toEqual(new Set([sent.length]));
    } finally {
      forward.kill("SIGKILL");
    }
    await expect.poll(refused, { timeout: 20_000 }).toBe("refused");
  });
});
