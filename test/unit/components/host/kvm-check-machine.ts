import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect } from "vitest";
import { type KvmReport, parseKvmReport } from "../../../../components/host/kvm-report";
import { script } from "../../../../components/host/scripts";

const temporary = mkdtempSync(join(tmpdir(), "kvm-check-"));
chmodSync(temporary, 0o755);
afterAll(() => rmSync(temporary, { recursive: true }));

/** A machine to check: what its /proc, /sys and /dev hold, what its commands say. */
export interface Machine {
  /** Files and their text; a name that ends in / is a folder. */
  files?: Record<string, string>;
  /** What /dev/kvm leads to. A device makes `stat` say that it is 10:232, unless `numbers` says otherwise. */
  device?: string;
  numbers?: string;
  /** Output of commands, by command line; the real ones answer the rest. */
  commands?: Record<string, string>;
  uname?: { system?: string; release?: string; machine?: string };
  uid?: number;
  /** Security options of a Docker engine that this user may use; by default there is none. */
  engine?: string;
}

let machines = 0;
const realCommands = { id: whereIs("id"), stat: whereIs("stat") };

function whereIs(command: string): string {
  return spawnSync("sh", ["-c", `command -v ${command}`], { encoding: "utf8" }).stdout.trim();
}

/** Runs the check on a machine and reads its report. */
export function check({
  files = {},
  device,
  numbers = "a:e8",
  commands = {},
  uname = {},
  uid,
  engine,
}: Machine): KvmReport {
  const root = join(temporary, String(machines++));
  for (const [path, text] of Object.entries({ "proc/": "", "dev/": "", "bin/": "", ...files })) {
    mkdirSync(path.endsWith("/") ? join(root, path) : dirname(join(root, path)), { recursive: true });
    if (!path.endsWith("/")) writeFileSync(join(root, path), text);
  }
  if (device) symlinkSync(device, join(root, "dev/kvm"));
  const answers = {
    "stat -L -c %t:%T": numbers,
    "stat -L -c %G": "kvm",
    "stat -L -c %a": "660",
    ...commands,
  };
  for (const command of ["id", "stat"] as const) fakeCommand(join(root, "bin", command), command, answers);

  const docker = engine === undefined ? "exit 1" : `echo '${engine}'`;
  writeFileSync(join(root, "bin/docker"), `#!/bin/sh\n${docker}\n`, { mode: 0o755 });

  const { stdout, stderr, status } = spawnSync("sh", ["-s"], {
    input: script("host/kvm-check"),
    encoding: "utf8",
    ...(uid === undefined ? {} : { uid, gid: uid }),
    env: {
      PATH: `${join(root, "bin")}:${process.env.PATH}`,
      KVM_CHECK_ROOT: root,
      KVM_CHECK_SYSTEM: uname.system ?? "Linux",
      KVM_CHECK_RELEASE: uname.release ?? "6.12.0-test",
      KVM_CHECK_MACHINE: uname.machine ?? "x86_64",
    },
  });
  expect({ stderr, status, lines: stdout.trim().split("\n").length }).toEqual({
    stderr: "",
    status: 0,
    lines: 1,
  });
  return parseKvmReport(stdout);
}

/** A command that answers some command lines (compared by their beginning) and leaves the rest to the real one. */
function fakeCommand(path: string, command: "id" | "stat", answers: Record<string, string>): void {
  const cases = Object.entries(answers)
    .filter(([line]) => line.startsWith(`${command} `))
    .map(([line, answer]) => `  "${line}"*) printf '%s\\n' '${answer}'; exit ;;`);
  writeFileSync(
    path,
    `#!/bin/sh\ncase "${command} $*" in\n${cases.join("\n")}\nesac\nexec ${realCommands[command]} "$@"\n`,
  );
  chmodSync(path, 0o755);
}

/** A device node with these numbers that only its owner may open; undefined where this user can't make one. */
export function makeDevice(major: number, minor: number): string | undefined {
  const path = join(temporary, `device-${major}-${minor}`);
  const made =
    existsSync(path) || spawnSync("mknod", ["-m", "0600", path, "c", `${major}`, `${minor}`]).status === 0;
  return made ? path : undefined;
}
