import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { explainKvm, type KvmReport, parseKvmReport } from "../../../../components/host/kvm-report";
import { script } from "../../../../components/host/scripts";
import { VisibleError } from "../../../../components/settings/visible-error";
import { check, type Machine, makeDevice } from "./kvm-check-machine";

const intel = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vmx lm\nvmx flags\t: vnmi\n";
const intelWithout = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu lm\n";
const amd = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu lm svm\n";
const guest = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu hypervisor lm\n";

describe("KVM that can be used", () => {
  test("Intel, on bare metal", () => {
    const report = check({
      device: "/dev/null",
      files: { "proc/cpuinfo": intel, "sys/module/kvm_intel/": "" },
    });
    expect(report).toMatchObject({ ok: true, code: "ok", guestsUnlikely: false, remedy: "" });
    expect(report.details).toEqual({
      arch: "amd64",
      cpuFlag: "vmx",
      module: "kvm_intel",
      nested: false,
      device: "10:232",
      kernel: "6.12.0-test",
    });
  });

  test("AMD, in a virtual machine", () => {
    const cpuinfo = amd.replace("svm", "hypervisor svm");
    const report = check({
      device: "/dev/null",
      files: { "proc/cpuinfo": cpuinfo, "sys/module/kvm_amd/": "" },
    });
    expect(report).toMatchObject({ ok: true, details: { cpuFlag: "svm", module: "kvm_amd", nested: true } });
  });

  test("arm64: an open device means EL2", () => {
    const report = check({ device: "/dev/null", uname: { machine: "aarch64" } });
    expect(report).toMatchObject({ ok: true, details: { arch: "arm64", cpuFlag: "el2", nested: null } });
  });

  test("WSL2 with nested virtualization", () => {
    const uname = { release: "5.15.0-microsoft-standard-WSL2" };
    expect(check({ device: "/dev/null", files: { "proc/cpuinfo": intel }, uname }).ok).toBe(true);
  });

  test("a device that opens on a CPU without virtualization gets its own sentence", () => {
    const report = check({
      device: "/dev/null",
      files: { "proc/cpuinfo": guest, "sys/module/kvm_pvm/": "" },
    });
    expect(report).toMatchObject({
      ok: true,
      guestsUnlikely: true,
      details: { cpuFlag: null, module: "kvm_pvm" },
    });
    expect(explainKvm(report)).toMatch(
      /opens, but the CPU has neither vmx nor svm[\s\S]*microsandbox:host emulated/,
    );
  });
});

describe("KVM that can't be used", () => {
  test.each<[string, KvmReport["code"], Machine, RegExp, RegExp]>([
    ["macOS", "macos", { uname: { system: "Darwin" } }, /macOS/, /config set microsandbox:host ssh:/],
    [
      "FreeBSD",
      "not-linux",
      { uname: { system: "FreeBSD" } },
      /This is FreeBSD/,
      /config set microsandbox:host ssh:/,
    ],
    [
      "RISC-V",
      "unsupported-arch",
      { uname: { machine: "riscv64" } },
      /riscv64/,
      /config set microsandbox:host/,
    ],
    [
      "WSL2",
      "wsl2",
      { uname: { release: "5.15.0-microsoft-standard-WSL2" } },
      /WSL/,
      /nestedVirtualization=true/,
    ],
    [
      "firmware, Intel",
      "firmware-disabled",
      { files: { "proc/cpuinfo": intelWithout, dmesg: "x86/cpu: VMX (outside TXT) disabled by BIOS\n" } },
      /switched off in the firmware/,
      /--firmware-setup.*VT-x/,
    ],
    [
      "firmware, AMD",
      "firmware-disabled",
      {
        files: {
          "proc/cpuinfo": amd,
          dmesg: "kvm_amd: SVM disabled (by BIOS) in MSR_VM_CR\nkvm: disabled by bios\n",
        },
      },
      /switched off in the firmware/,
      /--firmware-setup.*SVM/,
    ],
    [
      "no flag",
      "no-cpu-support",
      { files: { "proc/cpuinfo": intelWithout } },
      /neither vmx nor svm/,
      /firmware-setup/,
    ],
    [
      "a VM without nesting",
      "nested-off",
      { files: { "proc/cpuinfo": guest } },
      /virtual machine/,
      /kvm_amd nested=1/,
    ],
    [
      "module",
      "module-missing",
      { files: { "proc/cpuinfo": intel } },
      /kvm_intel is not loaded/,
      /modprobe kvm_intel/,
    ],
    [
      "module, AMD",
      "module-missing",
      { files: { "proc/cpuinfo": amd } },
      /kvm_amd is not/,
      /modprobe kvm_amd && echo/,
    ],
    [
      "kernel update without reboot",
      "module-missing",
      { files: { "proc/cpuinfo": intel, "lib/modules/6.13.0/": "" } },
      /kernel update without a reboot/,
      /^sudo reboot$/,
    ],
    [
      "kernel without KVM",
      "module-missing",
      { files: { "proc/cpuinfo": intel, "lib/modules/6.12.0-test/modules.dep": "kernel/fs/ext4.ko:\n" } },
      /built without kvm_intel/,
      /apt-get install linux-image-amd64/,
    ],
    [
      "kernel with KVM",
      "module-missing",
      {
        files: {
          "proc/cpuinfo": amd,
          "lib/modules/6.12.0-test/modules.dep": "kernel/arch/x86/kvm/kvm_amd.ko.xz:\n",
        },
      },
      /not loaded/,
      /modprobe kvm_amd/,
    ],
    [
      "module without a device",
      "missing",
      { files: { "proc/cpuinfo": intel, "sys/module/kvm_intel/": "" } },
      /although the module kvm_intel is loaded/,
      /mknod/,
    ],
    [
      "container",
      "missing",
      { files: { "proc/cpuinfo": intel, "sys/module/kvm_intel/": "", ".dockerenv": "" } },
      /a container/,
      /--device \/dev\/kvm/,
    ],
    [
      "container in a virtual machine",
      "missing",
      { files: { "proc/cpuinfo": guest, "sys/module/kvm_pvm/": "", "run/.containerenv": "" } },
      /a container/,
      /--device \/dev\/kvm/,
    ],
    [
      "arm64, not at EL2",
      "nested-off",
      { uname: { machine: "aarch64" }, files: { dmesg: "kvm [1]: HYP mode not available\n" } },
      /EL2/,
      /virtualization=on/,
    ],
    [
      "arm64, no module",
      "module-missing",
      { uname: { machine: "aarch64" } },
      /kvm is not loaded/,
      /modprobe kvm /,
    ],
    [
      "a file",
      "not-a-device",
      { files: { "proc/cpuinfo": intel, "dev/kvm": "" } },
      /not a character dev/,
      /rm -r/,
    ],
    [
      "a folder",
      "not-a-device",
      { files: { "proc/cpuinfo": intel, "dev/kvm/": "" } },
      /not a character dev/,
      /rm -r/,
    ],
    [
      "another device",
      "not-a-device",
      { device: "/dev/null", numbers: "1:3", files: { "proc/cpuinfo": intel } },
      /is device 1:3, and KVM is 10:232/,
      /mknod/,
    ],
    [
      "a dangling link",
      "missing",
      {
        device: "/nowhere",
        files: { "sys/module/kvm/": "", "proc/cpuinfo": intel, "sys/module/kvm_intel/": "" },
      },
      /missing/,
      /mknod/,
    ],
  ])("%s: %s", (_, code, machine, message, remedy) => {
    const report = check(machine);
    expect(report).toMatchObject({ ok: false, code });
    expect(report.message).toMatch(message);
    expect(report.remedy).toMatch(remedy);
    const text = explainKvm(report);
    expect(text).toContain(report.message);
    expect(text).toContain(report.remedy);
  });
});

describe("a device that does not open, for real", () => {
  const nobody = 65534;
  const closed = makeDevice(1, 3);
  const empty = makeDevice(10, 254);
  if (!closed || !empty) console.log("skipped: devices that don't open (making a device node needs root)");

  test.runIf(closed)("no permission: the group of the device is named", () => {
    const report = check({ device: closed, uid: nobody, commands: { "id -un": "alice", "id -Gn": "alice" } });
    expect(report).toMatchObject({ ok: false, code: "no-permission" });
    expect(report.message).toBe("alice may not open /dev/kvm: it is for the group kvm.");
    expect(report.remedy).toBe("sudo usermod -aG kvm alice && newgrp kvm");
  });

  test.runIf(closed)("B15: an engine of root's can open it, whoever the user is", () => {
    const user = {
      device: closed,
      uid: nobody,
      files: { "proc/cpuinfo": intel },
      commands: { "id -un": "alice" },
    };
    const report = check({ ...user, engine: "[name=seccomp,profile=default]" });
    expect(report).toMatchObject({ ok: true, code: "ok", guestsUnlikely: false });
    expect(report.message).toBe(
      "alice may not open /dev/kvm, but the Docker engine can, and gives it to the server.",
    );
    expect(check({ ...user, engine: "[name=rootless]" })).toMatchObject({ ok: false, code: "no-permission" });
  });

  test.runIf(closed)("no permission: a device of root's gets a group first", () => {
    const commands = {
      "id -un": "alice",
      "id -Gn": "alice",
      "stat -L -c %G": "root",
      "stat -L -c %a": "600",
    };
    const report = check({ device: closed, uid: nobody, commands });
    expect(report).toMatchObject({ ok: false, code: "no-permission" });
    expect(report.remedy).toMatch(/^sudo groupadd -rf kvm && sudo chgrp kvm \/dev\/kvm/);
  });

  test.runIf(closed)("in the group, but only from the next login on", () => {
    const commands = { "id -Gn alice": "alice kvm", "id -un": "alice", "id -Gn": "alice" };
    const report = check({ device: closed, uid: nobody, commands });
    expect(report).toMatchObject({ ok: false, code: "group-after-login" });
    expect(report.remedy).toMatch(/^newgrp kvm/);
  });

  test.runIf(empty)("a device node without a driver: the module is missing", () => {
    const report = check({ device: empty, files: { "proc/cpuinfo": intel } });
    expect(report).toMatchObject({ ok: false, code: "module-missing" });
    expect(report.message).toMatch(/no driver answers/);
  });
});

describe("this machine", () => {
  test("gets a report that says the same twice", () => {
    const run = () => spawnSync("sh", ["-s"], { input: script("host/kvm-check"), encoding: "utf8" });
    const { stdout, stderr, status } = run();
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(parseKvmReport(stdout).ok).toBe(parseKvmReport(run().stdout).ok);
    expect(run().stdout).toBe(stdout);
    if (!existsSync("/dev/kvm")) expect(parseKvmReport(stdout).ok).toBe(false);
  });
});

describe("what is no report", () => {
  test.each(["", "sh: not found", "{}", '{"ok":true}', "Welcome!\n"])("%j is refused", (stdout) => {
    expect(() => parseKvmReport(stdout)).toThrow(VisibleError);
  });

  test("a banner before the report is passed over", () => {
    const { stdout } = spawnSync("sh", ["-s"], { input: script("host/kvm-check"), encoding: "utf8" });
    expect(parseKvmReport(`Welcome to this host\n${stdout}`)).toEqual(parseKvmReport(stdout));
  });
});
