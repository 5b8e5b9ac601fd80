import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";

/** What the checks of `docker-bench-security` look at in `docker inspect`. */
export interface Inspected {
  AppArmorProfile?: string;
  HostConfig: {
    Privileged: boolean;
    CapAdd: string[] | null;
    Binds: string[] | null;
    NetworkMode: string;
    Memory: number;
    CpuShares: number;
    ReadonlyRootfs: boolean;
    RestartPolicy: { Name: string; MaximumRetryCount: number };
    PidMode: string;
    IpcMode: string;
    UTSMode: string;
    UsernsMode: string;
    CgroupParent: string;
    PidsLimit: number | null;
    SecurityOpt: string[] | null;
    Devices: { PathOnHost: string }[] | null;
  };
  Config: { User: string; Healthcheck?: { Test: string[] } };
  Mounts: { Type: string; Source: string; Propagation: string }[];
  NetworkSettings: {
    Ports: Record<string, { HostIp: string; HostPort: string }[] | null>;
    Networks: Record<string, unknown>;
  };
}

const published = ({ NetworkSettings }: Inspected) =>
  Object.values(NetworkSettings.Ports).flatMap((bindings) => bindings ?? []);
const options = ({ HostConfig }: Inspected) => HostConfig.SecurityOpt ?? [];

/** Folders of the host that a container has no business in. */
const SENSITIVE = ["/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"];

/**
 * The checks of containers in docker-bench-security (the CIS benchmark of Docker, 4.1 and section 5) that can be told
 * from `docker inspect`, by their names there.
 */
export const BENCH_CHECKS: [name: string, passes: (container: Inspected) => boolean][] = [
  ["4.1 a user for the container has been created", ({ Config }) => !/^(0|root)?(:|$)/.test(Config.User)],
  [
    "5.2 AppArmor profile is enabled, where the host has AppArmor",
    (container) => !options(container).some((option) => /^apparmor[=:]unconfined/.test(option)),
  ],
  [
    "5.4 Linux kernel capabilities are restricted",
    ({ HostConfig }) => !HostConfig.Privileged && !HostConfig.CapAdd?.length,
  ],
  ["5.5 privileged containers are not used", ({ HostConfig }) => !HostConfig.Privileged],
  [
    "5.6 sensitive host system directories are not mounted",
    ({ Mounts }) => !Mounts.some(({ Type, Source }) => Type === "bind" && SENSITIVE.includes(Source)),
  ],
  [
    "5.8 privileged ports are not mapped",
    (container) => published(container).every(({ HostPort }) => Number(HostPort) >= 1024),
  ],
  ["5.10 the host's network namespace is not shared", ({ HostConfig }) => HostConfig.NetworkMode !== "host"],
  ["5.11 memory usage is limited", ({ HostConfig }) => HostConfig.Memory > 0],
  [
    "5.12 CPU priority is set",
    ({ HostConfig }) => HostConfig.CpuShares > 0 && HostConfig.CpuShares !== 1024 * 1024,
  ],
  ["5.13 the root file system is mounted read-only", ({ HostConfig }) => HostConfig.ReadonlyRootfs],
  [
    "5.14 incoming traffic is bound to a specific interface",
    (container) => published(container).every(({ HostIp }) => !["", "0.0.0.0", "::"].includes(HostIp)),
  ],
  ["5.16 the host's process namespace is not shared", ({ HostConfig }) => HostConfig.PidMode !== "host"],
  ["5.17 the host's IPC namespace is not shared", ({ HostConfig }) => HostConfig.IpcMode !== "host"],
  [
    "5.18 host devices are not exposed, but for /dev/kvm",
    ({ HostConfig }) =>
      !HostConfig.Privileged &&
      (HostConfig.Devices ?? []).every(({ PathOnHost }) => PathOnHost === "/dev/kvm"),
  ],
  [
    "5.20 mount propagation is not shared",
    ({ Mounts }) => !Mounts.some(({ Propagation }) => Propagation === "shared"),
  ],
  ["5.21 the host's UTS namespace is not shared", ({ HostConfig }) => HostConfig.UTSMode !== "host"],
  [
    "5.22 the default seccomp profile is not disabled",
    (container) => !options(container).some((option) => /^seccomp[=:]unconfined/.test(option)),
  ],
  ["5.25 cgroup usage is confirmed", ({ HostConfig }) => HostConfig.CgroupParent === ""],
  [
    "5.26 no additional privileges can be acquired",
    (container) => options(container).some((option) => /^no-new-privileges(?!.*false)/.test(option)),
  ],
  [
    "5.27 container health is checked at run time",
    ({ Config }) => (Config.Healthcheck?.Test ?? []).length > 1,
  ],
  ["5.29 the PIDs cgroup limit is used", ({ HostConfig }) => (HostConfig.PidsLimit ?? 0) > 0],
  [
    "5.30 Docker's default bridge is not used",
    ({ NetworkSettings }) => !("bridge" in NetworkSettings.Networks),
  ],
  ["5.31 the host's user namespaces are not shared", ({ HostConfig }) => HostConfig.UsernsMode !== "host"],
  [
    "5.32 the Docker socket is not mounted",
    ({ Mounts }) => !Mounts.some(({ Source }) => Source.endsWith("docker.sock")),
  ],
];

/** Names of the checks that a container fails. */
export const failedChecks = (container: Inspected): string[] =>
  BENCH_CHECKS.filter(([, passes]) => !passes(container)).map(([name]) => name);

export type Profile = "hardened" | "privileged";

const page = join(__dirname, "../../docs/security.md");
const ROW = /^\| (\d+\.\d+ .+?) \| (passes|fails) \| (passes|fails) \|$/gm;
const columns: Profile[] = ["hardened", "privileged"];

/** The table of docs/security.md: what it says that each profile fails. */
export function documentedChecks(): { names: string[]; failed: Record<Profile, string[]> } {
  const rows = [...readFileSync(page, "utf8").matchAll(ROW)];
  const failing = (column: number) =>
    rows.filter((row) => row[column] === "fails").map(([, name = ""]) => name);
  return {
    names: rows.map(([, name = ""]) => name),
    failed: { hardened: failing(2), privileged: failing(3) },
  };
}

/**
 * Expects that a profile's real container fails what the table says, and nothing else. With `BENCH_TABLE=write` in the
 * environment that column of the table is written instead, as the container shows it.
 */
export function checksAreDocumented(profile: Profile, container: Inspected): void {
  const failed = failedChecks(container);
  if (process.env.BENCH_TABLE === "write") {
    const text = readFileSync(page, "utf8").replace(ROW, (_row, name: string, ...verdicts: string[]) => {
      const cells = columns.map((column, index) => (column === profile ? verdict(name) : verdicts[index]));
      return `| ${[name, ...cells].join(" | ")} |`;
    });
    writeFileSync(page, text);
  }
  expect(failed).toEqual(documentedChecks().failed[profile]);

  function verdict(name: string): string {
    return failed.includes(name) ? "fails" : "passes";
  }
}
