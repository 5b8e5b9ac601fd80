import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { debianRelease, ensureEngine, inspectEngine, missingPackages } from "../../../setup/engine";
import { runCommand } from "../../../setup/engine/run-command";
import { silentReporter } from "../../../setup/report";
import { UserError } from "../../../setup/user-error";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("debianRelease", () => {
  it.each([
    ["debian:13.2-slim", "trixie"],
    ["debian:12", "bookworm"],
    ["debian:12.9-slim", "bookworm"],
    ["mirror.example:5000/library/debian:13.2-slim", "trixie"],
    ["debian:trixie-slim", undefined],
    ["debian:99-slim", undefined],
    ["notdebian:13.2-slim", undefined],
    ["ubuntu:24.04", undefined],
  ])("of %s is %s", (image, release) => {
    expect(debianRelease(image)).toBe(release);
  });
});

describe("an engine that does not answer", () => {
  it("is told apart, with the reason", async () => {
    vi.stubEnv("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    expect(await inspectEngine()).toMatchObject({ answers: false, reason: expect.any(String) });
  });

  it("at an address of the user's is never replaced by a new one", async () => {
    vi.stubEnv("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    const attempt = ensureEngine(silentReporter);
    await expect(attempt).rejects.toThrow(UserError);
    await expect(attempt).rejects.toThrow(
      /unix:\/\/\/nonexistent\/docker\.sock does not answer[\s\S]*unset DOCKER_HOST/,
    );
  });
});

describe("Podman in an engine's place", () => {
  it("is told by its name, with the way out", async () => {
    const version = {
      ...{ Version: "4.9.3", ApiVersion: "1.41", Os: "linux", Arch: "amd64" },
      Components: [
        { Name: "Podman Engine", Version: "4.9.3" },
        { Name: "Conmon", Version: "2.1" },
      ],
    };
    const server = createServer((request, response) => {
      response.setHeader("Api-Version", "1.41").setHeader("Content-Type", "application/json");
      response.end(request.url?.endsWith("/version") ? JSON.stringify(version) : "OK");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      vi.stubEnv("DOCKER_HOST", `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
      await expect(ensureEngine(silentReporter)).rejects.toThrow(
        /tcp:.* can't be used: it is Podman[\s\S]*unset DOCKER_HOST/,
      );
    } finally {
      server.close();
    }
  });
});

describe.skipIf(process.platform !== "linux")("missingPackages", () => {
  it("names those that dpkg does not know, and only those", async () => {
    const hasDpkg = (await runCommand("dpkg-query", ["--version"])).ok;
    const wanted = ["no-such-package", "base-files"];
    expect(await missingPackages(wanted)).toEqual(hasDpkg ? ["no-such-package"] : wanted);
  });
});

describe("runCommand", () => {
  it("collects output and exit code", async () => {
    const outcome = await runCommand("sh", ["-c", "echo out; echo err >&2; exit 3"]);
    expect(outcome).toEqual({ ok: false, code: 3, stdout: "out\n", stderr: "err\n", tail: "err" });
  });

  it("tells a program that is not there, and one that takes too long", async () => {
    expect(await runCommand("no-such-program-here", [])).toMatchObject({ ok: false, trouble: "not found" });
    expect(await runCommand("sleep", ["30"], { timeoutMs: 50 })).toMatchObject({
      ok: false,
      trouble: "timed out",
    });
  });
});
