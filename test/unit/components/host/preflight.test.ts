import { spawnSync } from "node:child_process";
import { isIP } from "node:net";
import { hostname, networkInterfaces, release } from "node:os";
import { describe, expect, test } from "vitest";
import { parsePreflightReport } from "../../../../components/host/preflight-report";
import { script } from "../../../../components/host/scripts";
import { hostRanges } from "../../../../components/settings/egress";
import { VisibleError } from "../../../../components/settings/visible-error";
import { any, type Host, loopback, loopback6, pathWithout, preflight, socket } from "./preflight-host";

describe("an engine that can take the server", () => {
  test("is described, with six questions to docker", () => {
    const files = {
      "sys/fs/cgroup/cgroup.controllers": "cpu",
      "proc/cpuinfo": "processor\t: 0\nprocessor\t: 1\n",
    };
    const { report, calls } = preflight({ files: { ...files, "dev/kvm": "" } });
    expect(report).toMatchObject({ ok: true, code: "ok", remedy: "", tun: false });
    expect(report.engine).toEqual({
      version: "26.1.5",
      api: "1.45",
      arch: "amd64",
      os: "linux",
      cgroup: "v2",
    });
    expect(report.kvmGid).toEqual(expect.any(Number));
    expect(calls).toEqual(["version", "info", "ps", "network", "network", "volume"]);
    expect(report.objects).toEqual([]);
  });

  test.each<[string, Host]>([
    ["API as old as allowed", { version: "20.10.24 1.41 amd64 linux" }],
    ["API 2", { version: "40.0.0 2.0 amd64 linux" }],
    ["uname's name for arm64", { version: "26.1.5 1.45 aarch64 linux" }],
    ["our own container holds the port", { containers: ["msb-dev-server\t127.0.0.1:5555->5555/tcp"] }],
    [
      "our own container's proxy listens",
      { containers: ["msb-dev-server\t127.0.0.1:5555->5555/tcp"], sockets: [socket(loopback, 5555)] },
    ],
    ["another port of another container", { containers: ["web\t0.0.0.0:5556->5555/tcp, :::5556->5555/tcp"] }],
    ["the port inside another container", { containers: ["web\t5555/tcp"] }],
    ["UDP", { containers: ["dns\t0.0.0.0:5555->5555/udp"] }],
    ["another address of another container", { containers: ["web\t10.0.0.1:5555->80/tcp"] }],
    ["a connection, not a listener", { sockets: [socket(loopback, 5555, "01")] }],
    ["a listener on another port", { sockets: [socket(any, 55555), socket(any, 555)] }],
    ["a listener on another address", { sockets: [socket("0100000A", 5555), socket(loopback6, 5555)] }],
    ["B16: this machine's engine by TCP", { env: { DOCKER_HOST: "tcp://127.0.0.1:2375" } }],
    [
      "4: a rootless engine where /dev/kvm is for everybody",
      { info: [release(), hostname(), "[name=seccomp,profile=default name=rootless]"], kvmMode: 0o666 },
    ],
    ["no port asked for", { env: { HOST_PORT: "" }, sockets: [socket(any, 5555)] }],
  ])("%s", (_, host) => {
    expect(preflight(host).report).toMatchObject({ ok: true, code: "ok" });
  });

  test("names for architectures are Docker's", () => {
    expect(preflight({ version: "26.1.5 1.45 aarch64 linux" }).report.engine?.arch).toBe("arm64");
    expect(preflight({ version: "26.1.5 1.45 x86_64 linux" }).report.engine?.arch).toBe("amd64");
  });

  test("warnings of the client are passed over", () => {
    const { report } = preflight({ version: "WARNING: something\n26.1.5 1.45 amd64 linux" });
    expect(report.engine?.version).toBe("26.1.5");
  });
});

test("B17: the host's addresses are known without the ip command, those of IPv6 too", () => {
  const report = (path: string) => {
    const env = { HOST_PORT: "", PATH: path };
    const { stdout } = spawnSync("/bin/sh", ["-s"], {
      input: script("host/preflight"),
      encoding: "utf8",
      env,
    });
    return parsePreflightReport(stdout).addresses;
  };
  const interfaces = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const seen = report(pathWithout("ip"));
  const short = seen.map((each) =>
    isIP(each) === 6 ? new URL(`http://[${each}]`).hostname.slice(1, -1) : each,
  );
  const own = interfaces.filter(({ address, family }) => family === "IPv4" || !/^(fe80|::1)/.test(address));
  expect(short).toEqual(expect.arrayContaining(own.map(({ address }) => address)));

  const files = {
    "proc/net/fib_trie":
      "Main:\n  |-- 203.0.113.7\n     /32 host LOCAL\n  |-- 203.0.113.0\n     /24 link UNICAST\nLocal:\n  |-- 203.0.113.7\n     /32 host LOCAL\n",
    "proc/net/if_inet6":
      "fe800000000000000000000000000001 02 40 20 80 eth0\n20010db8000100020000000000000007 02 40 00 80 eth0\n",
  };
  const { addresses } = preflight({ files }).report;
  expect(addresses).toEqual(["203.0.113.7", "2001:0db8:0001:0002:0000:0000:0000:0007"]);
  expect(hostRanges(addresses)).toEqual(["2001:db8:1:2::/64", "203.0.113.7/32"]);
});

test("8: the size of packets of the engine's default network is told, where it has one", () => {
  expect(preflight({}).report.mtu).toBeNull();
  expect(preflight({ mtu: 1400 }).report.mtu).toBe(1400);
});

test.each<[string, string, boolean]>([
  ["cgroup v2", "sys/fs/cgroup/system.slice/memory.swap.max", true],
  ["cgroup v1", "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", true],
  ["cgroup v1 without swap accounting", "sys/fs/cgroup/memory/memory.limit_in_bytes", false],
])("22: whether swap can be limited: %s", (_name, file, swapLimit) => {
  expect(preflight({ files: { [file]: "" } }).report.swapLimit).toBe(swapLimit);
});

test("what has a name that the stack needs is told, with its labels and users", () => {
  const host: Host = {
    containers: [
      "msb-dev-server\t\tmicrosandbox\tdev\tid1\tmsb-dev-state,msb-dev-workspace\tc0ffee",
      "msb-dev-server-2\t\t\t\t\tmsb-dev-state-2",
      "other\t\t\t\t\t0123,msb-dev-state",
    ],
    networks: ["bridge|||", "msb-dev|microsandbox|dev|id1", "msb-dev-2|||"],
    volumes: ['msb-dev-state|micro"sandbox|dev|', "msb-dev-state-2|||", "msb-dev|||"],
  };
  const { report } = preflight(host);
  const dev = { project: "microsandbox", stack: "dev", deployment: "id1" };
  expect(report.objects).toEqual([
    { kind: "container", name: "msb-dev-server", ...dev, usedBy: [], id: "c0ffee" },
    { kind: "network", name: "msb-dev", ...dev, usedBy: [] },
    {
      ...{ kind: "volume", name: "msb-dev-state", project: 'micro"sandbox', stack: "dev", deployment: "" },
      usedBy: ["msb-dev-server", "other"],
    },
  ]);
});

test.each(["", "sh: docker: not found", '{"ok":true}'])("%j is no report", (stdout) => {
  expect(() => parsePreflightReport(stdout)).toThrow(VisibleError);
});
