import { spawnSync } from "node:child_process";
import { type AddressInfo, createServer, isIP, type Server } from "node:net";
import { hostname, networkInterfaces, release } from "node:os";
import { describe, expect, test } from "vitest";
import {
  explainPreflight,
  type PreflightReport,
  parsePreflightReport,
} from "../../../../components/host/preflight-report";
import { script } from "../../../../components/host/scripts";
import { hostRanges } from "../../../../components/settings/egress";
import { VisibleError } from "../../../../components/settings/visible-error";
import {
  any,
  any6,
  type Host,
  loopback,
  loopback6,
  mapped,
  pathWithout,
  preflight,
  socket,
} from "./preflight-host";

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

const dockerDenied =
  "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: dial unix: connect: permission denied";

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

describe("an engine that can't", () => {
  test.each<[string, PreflightReport["code"], Host, RegExp, RegExp]>([
    ["no client", "docker-missing", { noDocker: true }, /no docker command/, /apt-get install docker.io/],
    [
      "no engine",
      "engine-down",
      {
        error:
          "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
      },
      /does not answer at unix:.*"?Cannot connect/,
      /systemctl start docker/,
    ],
    [
      "a message with quotes, a backslash and two lines",
      "engine-down",
      { error: 'error "quoted" \\ here\nsecond\tline' },
      /error "quoted" \\ here second line/,
      /systemctl start docker/,
    ],
    [
      "permission",
      "no-permission",
      { error: dockerDenied, id: { "-un": "alice", "-Gn alice": "alice" } },
      /alice may not use/,
      /usermod -aG docker alice/,
    ],
    [
      "group from the next login on",
      "group-after-login",
      { error: dockerDenied, id: { "-un": "alice", "-Gn alice": "alice docker" } },
      /alice was added to the group docker after this login/,
      /^newgrp docker/,
    ],
    [
      "old API",
      "engine-too-old",
      { version: "19.03.15 1.40 amd64 linux" },
      /speaks API 1.40; 1.41/,
      /only-upgrade/,
    ],
    [
      "another lowest API",
      "engine-too-old",
      { version: "20.10.24 1.41 amd64 linux", env: { MIN_API: "1.44" } },
      /1.44 or newer/,
      /only-upgrade/,
    ],
    [
      "an engine too old for its client",
      "engine-too-old",
      {
        error:
          "Error response from daemon: client version 1.52 is too new. Maximum supported API version is 1.39",
      },
      /older than its client accepts/,
      /only-upgrade/,
    ],
    [
      "a client too old for its engine",
      "client-too-old",
      {
        error:
          "Error response from daemon: client version 1.38 is too old. Minimum supported API version is 1.44",
      },
      /docker command is older/,
      /docker-cli/,
    ],
    [
      "Windows containers",
      "not-linux",
      { version: "26.1.5 1.45 amd64 windows" },
      /windows containers/,
      /config set microsandbox:host/,
    ],
    [
      "RISC-V",
      "unsupported-arch",
      { version: "26.1.5 1.45 riscv64 linux" },
      /runs on riscv64/,
      /config set microsandbox:host/,
    ],
    [
      "30: podman's socket",
      "podman",
      { version: "4.3.1 1.41 amd64 linux Podman EngineConmonOCI Runtime (crun)" },
      /This is Podman/,
      /unset DOCKER_HOST/,
    ],
    [
      "30: podman's docker command",
      "podman",
      { error: "Error: template: can't evaluate field Arch", client: "podman version 4.3.1" },
      /This is Podman/,
      /docker\.io/,
    ],
    [
      "a snap that is not on PATH",
      "docker-missing",
      { noDocker: true, files: { "snap/bin/docker": "" } },
      /is a snap here/,
      /ln -s \/snap\/bin\/docker \/usr\/local\/bin/,
    ],
    [
      "9: userns-remap",
      "user-namespaces",
      { info: [release(), hostname(), "[name=seccomp,profile=default name=userns]"] },
      /remaps the users of containers \(userns-remap\)/,
      /daemon\.json.*systemctl restart docker/,
    ],
    [
      "4: a rootless engine, and a /dev/kvm for a group",
      "rootless",
      { info: [release(), hostname(), "[name=rootless]"], kvmMode: 0o660 },
      /is rootless/,
      /docker context use default/,
    ],
    [
      "B16: an engine by TCP on another machine",
      "engine-elsewhere",
      { env: { DOCKER_HOST: "tcp://build.example.com:2375" }, info: [release(), "build", ""] },
      /engine \(tcp:\/\/build.example.com:2375\) is on another machine, build/,
      /config set microsandbox:host ssh:\/\/root@build .*unset DOCKER_HOST/,
    ],
    [
      "B16: an engine by SSH, though its name is the same",
      "engine-elsewhere",
      { env: { DOCKER_HOST: "ssh://root@10.1.2.3" } },
      /is on another machine/,
      /unset DOCKER_HOST/,
    ],
    [
      "B16: an engine by a context, or a forwarded socket",
      "engine-elsewhere",
      { info: ["6.10.14-linuxkit", "docker-desktop", ""] },
      /is on another machine, docker-desktop/,
      /context use default/,
    ],
    [
      "B17: addresses that can't be read",
      "no-addresses",
      { files: { "proc/net/fib_trie": "" } },
      /can't be read/,
      /fib_trie/,
    ],
    ["not a number", "engine-too-old", { version: "x y amd64 linux" }, /API y/, /only-upgrade/],
    [
      "a port of another container",
      "port-taken",
      { containers: ["web\t80/tcp, 127.0.0.1:5555->80/tcp"] },
      /Port 5555 on 127.0.0.1 is taken: the container web publishes it on 127.0.0.1/,
      /docker stop web.*hostPort 5556/,
    ],
    [
      "in a range, on any address",
      "port-taken",
      {
        containers: [
          "msb-dev-server\t",
          "web\t0.0.0.0:5550-5560->5550-5560/tcp, [::]:5550-5560->5550-5560/tcp",
        ],
      },
      /container web publishes it on 0.0.0.0/,
      /docker stop web/,
    ],
    [
      "any address wanted, one taken",
      "port-taken",
      { containers: ["web\t127.0.0.1:5555->80/tcp"], env: { BIND_ADDRESS: "0.0.0.0" } },
      /Port 5555 on 0.0.0.0/,
      /microsandbox:hostPort 5556/,
    ],
    [
      "a listener",
      "port-taken",
      { sockets: [socket(loopback, 5555)] },
      /another process listens on 127.0.0.1/,
      /ss -ltnp/,
    ],
    [
      "a listener on any address",
      "port-taken",
      { sockets: [socket(any, 5555)] },
      /listens on 0.0.0.0/,
      /ss -ltnp/,
    ],
    [
      "a listener on any IPv6 address",
      "port-taken",
      { sockets: [socket(any6, 5555)] },
      /listens on ::/,
      /ss -ltnp/,
    ],
    [
      "an IPv4 listener in IPv6 form",
      "port-taken",
      { sockets: [socket(mapped, 5555)] },
      /on 127.0.0.1/,
      /ss -ltnp/,
    ],
    [
      "IPv6 loopback",
      "port-taken",
      { sockets: [socket(loopback6, 5555)], env: { BIND_ADDRESS: "::1" } },
      /listens on ::1/,
      /ss -ltnp/,
    ],
    [
      "the last port",
      "port-taken",
      { sockets: [socket(any, 65535)], env: { HOST_PORT: "65535" } },
      /Port 65535/,
      /hostPort 5555/,
    ],
    [
      "our container moves to any address, where another process listens on one",
      "port-taken",
      {
        containers: ["msb-dev-server\t127.0.0.1:5555->5555/tcp"],
        sockets: [socket(loopback, 5555), socket("0100000A", 5555)],
        env: { BIND_ADDRESS: "0.0.0.0" },
      },
      /listens on 10.0.0.1/,
      /ss -ltnp/,
    ],
    [
      "an address of another machine",
      "no-such-address",
      { env: { BIND_ADDRESS: "203.0.113.7" } },
      /no address 203.0.113.7, it has: .*127.0.0.1/,
      /bindAddress 127.0.0.1/,
    ],
  ])("%s: %s", (_, code, host, message, remedy) => {
    const { report } = preflight(host);
    expect(report).toMatchObject({ ok: false, code });
    expect(report.message).toMatch(message);
    expect(report.remedy).toMatch(remedy);
    expect(explainPreflight(report)).toContain(report.message);
    expect(explainPreflight(report)).toContain(report.remedy);
  });
});

describe("a real listener of this machine", () => {
  async function listen(address: string): Promise<{ server: Server; port: number }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    return { server, port: (server.address() as AddressInfo).port };
  }

  test("is found, and named with its process", async () => {
    const { server, port } = await listen("127.0.0.1");
    try {
      const env = { HOST_PORT: String(port) };
      const { report } = preflight({ sockets: "real", env });
      expect(report).toMatchObject({ ok: false, code: "port-taken" });
      expect(report.message).toContain(`Port ${port} on 127.0.0.1 is taken: `);
      expect(report.message).toContain(`(pid ${process.pid}) listens on 127.0.0.1.`);
      const elsewhere = preflight({ sockets: "real", env: { ...env, BIND_ADDRESS: "127.0.0.2" } });
      expect(elsewhere.report.ok).toBe(true);
    } finally {
      server.close();
    }
    await new Promise((resolve) => server.once("close", resolve));
    expect(preflight({ sockets: "real", env: { HOST_PORT: String(port) } }).report.ok).toBe(true);
  });
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
      "msb-dev-server\t\tmicrosandbox\tdev\tid1\tmsb-dev-state,msb-dev-workspace",
      "msb-dev-server-2\t\t\t\t\tmsb-dev-state-2",
      "other\t\t\t\t\t0123,msb-dev-state",
    ],
    networks: ["bridge|||", "msb-dev|microsandbox|dev|id1", "msb-dev-2|||"],
    volumes: ['msb-dev-state|micro"sandbox|dev|', "msb-dev-state-2|||", "msb-dev|||"],
  };
  const { report } = preflight(host);
  const dev = { project: "microsandbox", stack: "dev", deployment: "id1" };
  expect(report.objects).toEqual([
    { kind: "container", name: "msb-dev-server", ...dev, usedBy: [] },
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
