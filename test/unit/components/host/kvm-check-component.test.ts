import { describe, expect, it } from "vitest";
import { usableEngine } from "../../../../components/host/engine-verdict";
import { usableKvm } from "../../../../components/host/kvm-check";
import { healthyHost } from "../../../harness/pulumi-mocks";

describe("usableKvm", () => {
  it("lets a good report through", () => {
    expect(usableKvm(JSON.stringify(healthyHost.kvm)).code).toBe("ok");
  });

  it("stops with the reason, the remedy and the way around", () => {
    const missing = {
      ...healthyHost.kvm,
      ok: false,
      code: "missing",
      message: "no device",
      remedy: "modprobe kvm",
    };
    expect(() => usableKvm(JSON.stringify(missing))).toThrow(
      /no device[\s\S]*modprobe kvm[\s\S]*kvmCheck off/,
    );
  });

  it.each(["", "Welcome to the machine", '{"ok":true}'])("takes %j for no report", (stdout) => {
    expect(() => usableKvm(stdout)).toThrow(/one line of JSON/);
  });
});

describe("usableEngine", () => {
  const good = JSON.stringify(healthyHost.preflight);

  it("lets a good report through, with the processor it has", () => {
    expect(usableEngine(good, "auto").engine?.arch).toBe("amd64");
    expect(usableEngine(good, "amd64").ok).toBe(true);
  });

  it("stops at a processor that was not expected", () => {
    expect(() => usableEngine(good, "arm64")).toThrow(
      /architecture is arm64[\s\S]*config set microsandbox:architecture auto/,
    );
  });

  it("stops with the reason and the remedy", () => {
    const taken = {
      ...healthyHost.preflight,
      ok: false,
      code: "port-taken",
      message: "port 5555 is taken",
      remedy: "x",
    };
    expect(() => usableEngine(JSON.stringify(taken), "auto")).toThrow(/port 5555 is taken/);
  });
});
