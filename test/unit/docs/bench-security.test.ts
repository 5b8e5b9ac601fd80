import { expect, it } from "vitest";
import { BENCH_CHECKS, documentedChecks, failedChecks, type Inspected } from "../../harness/bench-security";

it("the table of docs/security.md has each check, and the hardened profile fails none", () => {
  const { names, failed } = documentedChecks();
  expect(names).toEqual(BENCH_CHECKS.map(([name]) => name));
  expect(failed.hardened).toEqual([]);
});

it("a container that gives everything away fails every check", () => {
  const everything: Inspected = {
    HostConfig: {
      ...{ Privileged: true, CapAdd: ["ALL"], Binds: null, NetworkMode: "host", Memory: 0, CpuShares: 0 },
      ...{ ReadonlyRootfs: false, RestartPolicy: { Name: "always", MaximumRetryCount: 0 }, PidMode: "host" },
      ...{ IpcMode: "host", UTSMode: "host", UsernsMode: "host", CgroupParent: "/x", PidsLimit: null },
      SecurityOpt: ["apparmor=unconfined", "seccomp=unconfined"],
      Devices: [{ PathOnHost: "/dev/mem" }],
    },
    Config: { User: "" },
    Mounts: [
      { Type: "bind", Source: "/etc", Propagation: "shared" },
      { Type: "bind", Source: "/run/docker.sock", Propagation: "rprivate" },
    ],
    NetworkSettings: {
      Ports: { "5555/tcp": [{ HostIp: "0.0.0.0", HostPort: "80" }] },
      Networks: { bridge: {} },
    },
  };
  expect(failedChecks(everything)).toEqual(BENCH_CHECKS.map(([name]) => name));
});
