import { hostname, release } from "node:os";
import { describe, test } from "vitest";
import type { PreflightReport } from "../../../../components/host/preflight-report";
import { expectRefusal, type Host } from "./preflight-host";

const dockerDenied =
  "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: dial unix: connect: permission denied";

describe("an engine that can't take the server", () => {
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
  ])("%s: %s", (_, code, host, message, remedy) => expectRefusal(host, code, message, remedy));
});
