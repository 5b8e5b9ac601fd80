import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { registryFiles } from "../../../components/server/stack-files";
import { canonical, mirrored } from "../../../docker/gateway/src/backends/msb/image-reference";
import { applyRegistrySettings } from "../../../docker/gateway/src/backends/msb/registry-settings";
import { TestGateway, temporaryFolder } from "./harness";

const DIGEST = `@sha256:${"a".repeat(64)}`;
const hub = { mirrors: { "docker.io": "mirror.test/hub/" } };

describe("image references", () => {
  test.each([
    ["alpine", "docker.io/library/alpine:latest"],
    ["alpine:3.22", "docker.io/library/alpine:3.22"],
    ["bitnami/redis", "docker.io/bitnami/redis:latest"],
    ["index.docker.io/library/alpine", "docker.io/library/alpine:latest"],
    ["docker.io/alpine:1", "docker.io/library/alpine:1"],
    ["ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1"],
    ["localhost/x", "localhost/x:latest"],
    ["localhost:5000/x:1", "localhost:5000/x:1"],
    [`alpine${DIGEST}`, `docker.io/library/alpine${DIGEST}`],
    [`host:5000/x:1${DIGEST}`, `host:5000/x:1${DIGEST}`],
  ])("%s is %s", (reference, full) => {
    expect(canonical(reference)).toBe(full);
    expect(canonical(full)).toBe(full);
  });

  test.each([
    ["alpine:3.22", "mirror.test/hub/library/alpine:3.22"],
    [`bitnami/redis${DIGEST}`, `mirror.test/hub/bitnami/redis${DIGEST}`],
    ["ghcr.io/a/b", undefined],
    ["constructor/x.y", "mirror.test/hub/constructor/x.y:latest"],
    ["constructor.io/x", undefined],
  ])("%s is pulled from %s", (reference, from) => {
    expect(mirrored(reference, hub.mirrors)).toBe(from);
  });
});

describe("what msb is told of registries", () => {
  const read = (...path: string[]) => readFileSync(join(...path), "utf8");
  const settings = {
    ...hub,
    certificates: "PEM",
    plainHttp: ["localhost:5000"],
    logins: {
      "ghcr.io": { username: "bot", password: "one" },
      "localhost:5000": { username: "me", password: "two" },
    },
  };

  test("is in the files that a backup of the stack leaves out, and nowhere else", async () => {
    const home = temporaryFolder();
    await applyRegistrySettings(home, { ...settings, allowed: ["*"] });
    const written = readdirSync(home, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile())
      .map((each) => relative(home, join(each.parentPath, each.name)));
    const entryOf = (path: string) =>
      registryFiles.find((each) => path === each || path.startsWith(`${each}/`)) ?? path;
    expect([...new Set(written.map(entryOf))].sort()).toEqual([...registryFiles].sort());
  });

  test("passwords and certificates are files for root's eyes, msb's configuration names them", async () => {
    const home = temporaryFolder();
    await applyRegistrySettings(home, settings);
    const text = read(home, "config.json");
    expect(JSON.parse(text).registries).toEqual({
      ca_certs: join(home, "gateway", "registry-certificates.pem"),
      hosts: {
        "ghcr.io": { auth: { username: "bot", secret_name: "ghcr.io" } },
        "localhost:5000": { insecure: true, auth: { username: "me", secret_name: "localhost_5000" } },
      },
    });
    const secrets = join(home, "secrets", "registries");
    expect(read(secrets, "ghcr.io")).toBe("one");
    expect(read(secrets, "localhost_5000")).toBe("two");
    expect(statSync(join(secrets, "ghcr.io")).mode & 0o777).toBe(0o600);
    expect(statSync(secrets).mode & 0o777).toBe(0o700);
    expect(text + read(home, "gateway", "registries.json")).not.toMatch(/one|two/);
  });

  test("what was set before goes, what is not the stack's stays", async () => {
    const home = temporaryFolder();
    const own = {
      active_profile: "mine",
      registries: { hosts: { "own.test": { auth: { username: "x", store: "keyring" } } } },
    };
    writeFileSync(join(home, "config.json"), JSON.stringify(own));
    mkdirSync(join(home, "secrets", "registries"), { recursive: true });
    writeFileSync(join(home, "secrets", "registries", "own"), "own");
    await applyRegistrySettings(home, settings);
    await applyRegistrySettings(home, { logins: { "ghcr.io": { username: "bot", password: "three" } } });
    expect(JSON.parse(read(home, "config.json"))).toEqual({
      ...own,
      registries: {
        hosts: { ...own.registries.hosts, "ghcr.io": { auth: { username: "bot", secret_name: "ghcr.io" } } },
      },
    });
    await applyRegistrySettings(home, {});
    expect(JSON.parse(read(home, "config.json"))).toEqual(own);
    expect(readdirSync(join(home, "secrets", "registries"))).toEqual(["own"]);
    expect(readdirSync(join(home, "gateway"))).toEqual(["registries.json"]);
  });

  test("a configuration that is none is left as it is", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "config.json"), "{broken");
    await expect(applyRegistrySettings(home, settings)).rejects.toThrow(/config\.json is not msb's/);
    expect(read(home, "config.json")).toBe("{broken");
  });
});

describe("a mirror", () => {
  test("is what msb asks, and the client never sees it", async () => {
    const gateway = await TestGateway.start();
    await applyRegistrySettings(gateway.home, hub);
    const { body } = await gateway.create("mirrored", { reference: "alpine:3.22" });
    expect(gateway.made("mirrored")?.conf.image).toEqual({ oci: "mirror.test/hub/library/alpine:3.22" });
    for (const answer of [body, (await gateway.get("/v1/sandboxes/by-name/mirrored")).body])
      expect(answer.spec).toMatchObject({
        reference: "alpine:3.22",
        image: { Oci: { reference: "alpine:3.22" } },
      });
    expect(JSON.stringify((await gateway.get("/v1/sandboxes")).body)).not.toContain("mirror.test");
    await applyRegistrySettings(gateway.home, {});
    await gateway.create("no-longer", { reference: "alpine:3.22" });
    expect(gateway.made("no-longer")?.conf.image).toEqual({ oci: "alpine:3.22" });
  });

  test("is not asked for what is cached under its own name, nor given a request's credentials", async () => {
    const gateway = await TestGateway.start();
    await applyRegistrySettings(gateway.home, hub);
    await gateway.create("cached", { reference: "starter" });
    expect(gateway.made("cached")?.conf.image).toEqual({ oci: "starter" });
    await gateway.create("anew", { reference: "starter", pull_policy: "always" });
    expect(gateway.made("anew")?.conf.image).toEqual({ oci: "mirror.test/hub/library/starter:latest" });
    const registry = { mode: "inline", username: "me", password: "mine" };
    await gateway.create("own-login", { reference: "me/private", registry });
    expect(gateway.made("own-login")?.conf.image).toEqual({ oci: "me/private" });
  });
});
