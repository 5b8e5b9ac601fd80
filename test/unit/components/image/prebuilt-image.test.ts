import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { registryOf } from "../../../../components/image/image-on-host";
import { Microsandbox } from "../../../../components/microsandbox";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { exec } from "../../../../setup/exec";
import { healthyHost, type Registered, registered } from "../../../harness/pulumi-mocks";

const digest = `sha256:${"0123456789ab".padEnd(64, "c")}`;
const source = `registry.test:5000/team/server@${digest}`;
const login = { registryUser: "me", registryPassword: "s3cret" };
const deploy = (args: MicrosandboxArgs) => registered(() => new Microsandbox("sandboxes", args));
const find = (resources: Registered[], end: string) => resources.find(({ name }) => name.endsWith(end));
const textOf = (input: string | { value: string }) => (typeof input === "string" ? input : input.value);
const ssh = { host: "ssh://me@host.test" };

/** What runs the script that brings the image, and the script. */
async function load(args: MicrosandboxArgs) {
  const { create, stdin } = find(await deploy(args), "-image-load")?.inputs ?? {};
  return { create: String(create), script: textOf(stdin), isSecret: typeof stdin !== "string" };
}

describe("a prebuilt image", () => {
  it.each<[string, MicrosandboxArgs]>([
    ["local", {}],
    ["over SSH", ssh],
    ["emulated", { host: "emulated" }],
  ])("is pulled by the host itself, and nothing is built or sent: %s", async (_host, args) => {
    const resources = await deploy({ ...args, serverImage: source });
    expect(find(resources, "-image-build")).toBeUndefined();
    const { create, script } = await load({ ...args, serverImage: source });
    expect(create.endsWith("sh -s") || create.endsWith("'sh -s'")).toBe(true);
    expect(create.includes("ssh")).toBe(args.host !== undefined);
    expect(script).toContain(`export SOURCE=${source}\n`);
    expect(script).not.toContain("docker save");
    expect(find(resources, "-server-container")?.inputs.image).toBe("sandboxes-image-load output");
  });

  it.each([
    [ssh, "docker load"],
    [{ host: "emulated" }, "load-image microsandbox-sandboxes-dev -"],
  ])("is pulled here and sent where the host reaches no registry", async (host, loader) => {
    const { create, script } = await load({ ...host, serverImage: source, builder: "local" });
    expect(create).toBe("sh -s");
    expect(script.indexOf("docker pull")).toBeLessThan(script.indexOf("docker save"));
    expect(script).toContain(loader);
  });

  it("has the host's processor and the digest in its name", async () => {
    const { script } = await load({ serverImage: source });
    expect(script).toContain("export REFERENCE=microsandbox-sandboxes-dev:0.7.11-amd64-0123456789ab\n");
    expect(script).toContain("export ARCHITECTURE=amd64\n");
    expect(script).toContain("export VERSION=0.7.11\n");
  });

  it("is tried on the state before the server is replaced, like any other", async () => {
    const trial = find(await deploy({ serverImage: source }), "-upgrade-trial");
    expect(trial?.inputs.stdin).toContain("IMAGE='sandboxes-image-load output'");
  });

  it.each<[string, MicrosandboxArgs, boolean]>([
    ["its registry has a login", login, true],
    ["the login is for the registry that it is in", { ...login, registry: "registry.test:5000/other" }, true],
    ["the login is for another registry", { ...login, registry: "elsewhere.test" }, false],
  ])("takes the login where %s, and not into an environment", async (_what, args, expected) => {
    const { script, isSecret } = await load({ ...args, serverImage: source });
    expect(script.includes("\nREGISTRY_PASSWORD=s3cret\n")).toBe(expected);
    expect(isSecret).toBe(true);
    expect(script).not.toContain("export REGISTRY_PASSWORD");
  });
});

describe("a build on the host's own engine", () => {
  it("is made through the host's provider, and nothing is sent", async () => {
    const resources = await deploy({ ...ssh, builder: "host" });
    expect(find(resources, "-image-build")?.provider).toContain("sandboxes-host-engine");
    expect(find(resources, "-image-load")).toBeUndefined();
    expect(find(resources, "-server-container")?.inputs.image).toBe("sha256:sandboxes-image-build");
  });

  it.each<MicrosandboxArgs>([ssh, { ...ssh, builder: "local" }])(
    "is not made without it: %o",
    async (args) => {
      const resources = await deploy(args);
      expect(find(resources, "-image-build")?.provider).toContain("sandboxes-host-builder");
      expect(find(resources, "-image-load")).toBeDefined();
    },
  );

  it("has the same name as one made here", async () => {
    const names: string[] = [];
    for (const builder of ["local", "host"] as const)
      names.push(find(await deploy({ ...ssh, builder }), "-image-build")?.inputs.name);
    expect(names[0]).toBe(names[1]);
  });

  it.each<[MicrosandboxArgs, RegExp]>([
    [{ host: "emulated", builder: "host" }, /microsandbox:builder .*hours[\s\S]*builder local/],
    [
      { ...ssh, builder: "host", registry: "registry.test" },
      /microsandbox:builder .*push[\s\S]*builder local/,
    ],
  ])("is refused where it can't be: %o", (args, message) => {
    expect(() => parseSettings({ ...args })).toThrow(message);
  });
});

it.each([
  "registry.test/team/server:1",
  "registry.test/team/server",
  `registry.test/team/server@${digest.slice(0, -1)}`,
  `registry.test/team/server@${digest.toUpperCase()}`,
  `https://registry.test/team/server@${digest}`,
  `registry.test/team/$(id)@${digest}`,
  digest,
])("refuses %s for a serverImage, and says what is accepted", (serverImage) => {
  expect(() => parseSettings({ serverImage })).toThrow(
    /microsandbox:serverImage is [\s\S]*accepted: repository@sha256:…/,
  );
});

it("offers the image without its tag where both tag and digest are given", () => {
  expect(() => parseSettings({ serverImage: `registry.test/server:1.2@${digest}` })).toThrow(
    `config set microsandbox:serverImage registry.test/server@${digest}`,
  );
});

it.each([
  ["registry.test/team/server", "registry.test"],
  ["registry.test:5000/server", "registry.test:5000"],
  ["localhost/server", "localhost"],
  ["team/server", "docker.io"],
  ["server", "docker.io"],
])("finds the registry of %s", (repository, registry) => {
  expect(registryOf(repository)).toBe(registry);
});

describe("the pull on the host", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "microsandbox-pull-"));
    mkdirSync(join(folder, "bin"));
    // The engine has what was pulled: files named by what the image is called, and what it says of itself in $IMAGE_*.
    writeFileSync(
      join(folder, "bin/docker"),
      `#!/bin/sh
      echo "$*" >>"$TMPDIR/calls"
      for last; do :; done
      name=$TMPDIR/$(echo "$last" | tr '/:' '__')
      case "$*" in
      pull*) touch "$name" ;;
      tag*) touch "$name" ;;
      *"image rm"*) rm "$name" ;;
      *inspect*Architecture*) echo "$IMAGE_ARCHITECTURE" ;;
      *inspect*Labels*) echo "$IMAGE_VERSION" ;;
      *inspect*) [ -e "$name" ] || exit 1; echo sha256:id ;;
      esac
      `,
    );
    chmodSync(join(folder, "bin/docker"), 0o755);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function pull(image: { architecture: string; version: string }) {
    const { script } = await load({ serverImage: source });
    const env = {
      ...{ PATH: `${folder}/bin:${process.env.PATH}`, HOME: folder, TMPDIR: folder },
      ...{ IMAGE_ARCHITECTURE: image.architecture, IMAGE_VERSION: image.version },
    };
    const result = await exec("sh", ["-s"], { input: script, env, extendEnv: false, reject: false });
    return { ...result, calls: readFileSync(join(folder, "calls"), "utf8") };
  }
  const good = { architecture: "amd64", version: "0.7.11" };

  it("asks for the host's processor, and names what it has got", async () => {
    const { exitCode, stdout, calls } = await pull(good);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "sha256:id" });
    expect(calls).toContain(`pull --platform linux/amd64 ${source}\n`);
    expect(calls).toContain(`tag ${source} microsandbox-sandboxes-dev:0.7.11-amd64-0123456789ab\n`);
  });

  it("asks no registry for what it has", async () => {
    await pull(good);
    rmSync(join(folder, "calls"));
    const { stdout, calls } = await pull(good);
    expect(stdout).toBe("sha256:id");
    expect(calls).not.toContain("pull");
  });

  it.each([
    [{ architecture: "arm64" }, /is for arm64, but the host is amd64/],
    [{ version: "" }, /does not say which version/],
    [
      { version: "0.8.0" },
      /holds microsandbox 0\.8\.0[\s\S]*to use what it holds: the argument version: 0\.8\.0/,
    ],
  ])("refuses an image that is not the one that is wanted, and drops it: %o", async (what, message) => {
    const { exitCode, stdout, stderr, calls } = await pull({ ...good, ...what });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toMatch(message);
    expect(calls).not.toContain("tag");
    expect(calls).toContain(`image rm ${source}`);
  });
});

it("may be told by an output, as of a registry's resource that the same program makes", async () => {
  const later = pulumi.output(Promise.resolve(source));
  const resources = await deploy({ ...ssh, serverImage: later });
  expect(find(resources, "-image-build")).toBeUndefined();
  expect(textOf(find(resources, "-image-load")?.inputs.stdin)).toContain(`export SOURCE=${source}\n`);
});

it("is the same deployment from a deployer whose engine has nothing, with other authorities: nothing there is an input", async () => {
  const one = await registered(() => new Microsandbox("sandboxes", { ...ssh, serverImage: source }));
  const other = await registered(() => new Microsandbox("sandboxes", { ...ssh, serverImage: source }), {
    ...healthyHost,
    imageId: "sha256:other",
  });
  expect(other).toEqual(one);
});
