import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname, release, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import {
  explainPreflight,
  type PreflightReport,
  parsePreflightReport,
} from "../../../../components/host/preflight-report";
import { script } from "../../../../components/host/scripts";
import { atFileEnd } from "../../../harness/file-end";

let made: string | undefined;

/** The folder of all hosts of a test file. */
function temporary(): string {
  if (made !== undefined) return made;
  const folder = mkdtempSync(join(tmpdir(), "preflight-"));
  made = folder;
  atFileEnd(() => {
    rmSync(folder, { recursive: true });
    made = undefined;
  });
  return folder;
}

/** An engine and its host to check. */
export interface Host {
  /** What `docker version` prints: version, API, architecture, system. Default: a recent engine. */
  version?: string;
  /** Lines of `docker info`: kernel, name and security options. Default: of this machine. */
  info?: [kernel: string, name: string, options: string];
  /** What `docker version` fails with. */
  error?: string;
  /** Containers: name, tab, ports; then, where it matters, the three labels, the volumes and the id. */
  containers?: string[];
  /** Lines of the list that cli/deploy/drift.ts asks for: kind, id, name, state, project, stack and status, with tabs. */
  listed?: string[];
  /** Whether that list fails. */
  unlisted?: boolean;
  /** Lines of `docker network ls` and `docker volume ls`: name and labels. */
  networks?: string[];
  volumes?: string[];
  /** The option of the engine's default network. */
  mtu?: number;
  /** Lines of /proc/net/tcp and tcp6, or `real` for this machine's. */
  sockets?: string[] | "real";
  /** What `docker --version` prints. */
  client?: string;
  noDocker?: boolean;
  env?: Record<string, string>;
  files?: Record<string, string>;
  /** Permissions of /dev/kvm, which is there with them. */
  kvmMode?: number;
  /** Output of `id`, by its arguments. */
  id?: Record<string, string>;
}

let hosts = 0;

/** A folder with the host's tools but without docker, which each host has its own of. */
function tools(): string {
  const folder = join(temporary(), "tools");
  if (existsSync(folder)) return folder;
  mkdirSync(folder);
  for (const tool of TOOLS) {
    const path = spawnSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).stdout.trim();
    if (path) symlinkSync(path, join(folder, tool));
  }
  return folder;
}

const TOOLS = [
  "sh",
  "awk",
  "cat",
  "cut",
  "find",
  "grep",
  "head",
  "id",
  "ip",
  "sed",
  "stat",
  "tail",
  "tr",
  "uname",
];

/** The host's tools without one of them. */
export function pathWithout(tool: string): string {
  const path = mkdtempSync(join(temporary(), "without-"));
  for (const name of readdirSync(tools()))
    if (name !== tool) symlinkSync(join(tools(), name), join(path, name));
  return path;
}

/** Runs the check on a host and reads its report; `calls` are the subcommands of docker that it used. */
export function preflight(host: Host): { report: PreflightReport; calls: string[] } {
  const folder = join(temporary(), String(hosts++));
  const root = join(folder, "root");
  const bin = join(folder, "bin");
  const sockets = host.sockets === "real" ? [] : (host.sockets ?? []);
  const files = {
    "proc/net/tcp": sockets.join("\n"),
    "proc/net/fib_trie": "  |-- 127.0.0.1\n     /32 host LOCAL\n",
    "dev/x": "",
    ...host.files,
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  if (host.kvmMode) {
    writeFileSync(join(root, "dev/kvm"), "");
    chmodSync(join(root, "dev/kvm"), host.kvmMode);
  }
  mkdirSync(bin);
  if (!host.noDocker) writeFakeDocker(bin, folder, host);
  if (host.id) {
    const cases = Object.entries(host.id).map(([words, answer]) => `"${words}") echo "${answer}" ;;`);
    writeFileSync(join(bin, "id"), `#!/bin/sh\ncase "$*" in ${cases.join(" ")} esac\n`, { mode: 0o755 });
  }
  const { stdout, stderr, status } = spawnSync("/bin/sh", ["-s"], {
    input: script("host/preflight"),
    encoding: "utf8",
    env: {
      PATH: `${bin}:${tools()}`,
      NAME: "msb-dev-server",
      NETWORK: "msb-dev",
      VOLUMES: "msb-dev-state msb-dev-workspace",
      HOST_PORT: "5555",
      BIND_ADDRESS: "127.0.0.1",
      ...(host.sockets === "real" ? {} : { PREFLIGHT_ROOT: root }),
      ...host.env,
    },
  });
  expect({ stderr, status, lines: stdout.trim().split("\n").length }).toEqual({
    stderr: "",
    status: 0,
    lines: 1,
  });
  const calls = host.noDocker ? "" : readFileSync(join(folder, "calls"), "utf8");
  return { report: parsePreflightReport(stdout), calls: calls.split("\n").filter(Boolean) };
}

/** Expects a host to be refused, with what was found and with the command that fixes it. */
export function expectRefusal(
  host: Host,
  code: PreflightReport["code"],
  message: RegExp,
  remedy: RegExp,
): void {
  const { report } = preflight(host);
  expect(report).toMatchObject({ ok: false, code });
  expect(report.message).toMatch(message);
  expect(report.remedy).toMatch(remedy);
  expect(explainPreflight(report)).toContain(report.message);
  expect(explainPreflight(report)).toContain(report.remedy);
}

/** A docker command in `bin` that answers for a host, from files in `folder`. */
export function writeFakeDocker(bin: string, folder: string, host: Host): void {
  writeFileSync(join(folder, "calls"), "");
  writeFileSync(join(folder, "error"), host.error ?? "");
  writeFileSync(join(folder, "version"), `${host.version ?? "26.1.5 1.45 amd64 linux"}\n`);
  const [kernel, name, options] = host.info ?? [release(), hostname(), "[name=seccomp,profile=default]"];
  writeFileSync(join(folder, "info"), `${kernel}\t${name}\t${options}\n`);
  writeFileSync(join(folder, "--version"), `${host.client ?? "Docker version 26.1.5"}\n`);
  const lines = (all: string[] = []) => all.map((line) => `${line}\n`).join("");
  const containers = host.containers?.map((line) =>
    [...line.split("\t"), "", "", "", "", ""].slice(0, 7).join("|"),
  );
  writeFileSync(join(folder, "ps"), lines(containers));
  writeFileSync(join(folder, "listed"), lines(host.listed));
  writeFileSync(join(folder, "network"), lines(host.networks?.map((line) => `network|${line}`)));
  writeFileSync(join(folder, "mtu"), `${host.mtu ?? ""}\n`);
  writeFileSync(join(folder, "image"), "");
  writeFileSync(join(folder, "volume"), lines(host.volumes?.map((line) => `volume|${line}`)));
  const answer = `#!/bin/sh
echo "$1" >> "${folder}/calls"
if [ "$1" = version ] && [ -s "${folder}/error" ]; then cat "${folder}/error" >&2; exit 1; fi
case "$*" in *{{.State}}*) cat "${folder}/listed"; exit ${host.unlisted ? 1 : 0} ;; esac
if [ "$2" = inspect ]; then cat "${folder}/mtu"; else cat "${folder}/$1"; fi
`;
  writeFileSync(join(bin, "docker"), answer);
  chmodSync(join(bin, "docker"), 0o755);
}

/** A line of /proc/net/tcp: a socket on `address` (as there: hexadecimal) and port. */
export function socket(address: string, port: number, state = "0A"): string {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  const zeros = `${"0".repeat(address.length)}:0000`;
  return `   0: ${address}:${hexPort} ${zeros} ${state} 00000000:00000000 00:00000000 00000000     0        0 999999999 1`;
}
export const loopback = "0100007F";
export const any = "00000000";
export const any6 = "0".repeat(32);
export const mapped = `0000000000000000FFFF0000${loopback}`;
export const loopback6 = `${"0".repeat(24)}01000000`;
