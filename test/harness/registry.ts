import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePackages } from "../../setup/engine/apt";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { docker } from "./docker";
import { freePort } from "./stack";

const PLAIN = "127.0.0.1:5000";
const PRIVATE = "127.0.0.1:5001";
const PASSWORD = "a-password-for-pulls-only";
/** bcrypt, the only form that the registry takes. */
const HTPASSWD = "puller:$2y$05$abcdefghijklmnopqrstuuaMPakeu8g2ZWmYZvtiCBUihJrdQefye";

/**
 * Debian's docker-registry on the loopback of a server's container: the same images without TLS, and with TLS by
 * an authority of its own and a password. It holds `library/tiny:1` and `team/private:2`.
 */
export class TestRegistry {
  readonly plain = PLAIN;
  readonly private = PRIVATE;
  readonly login = { username: "puller", password: PASSWORD };

  private constructor(
    private readonly container: string,
    private readonly folder: string,
    /** PEM. */
    readonly authority: string,
  ) {}

  static async start(server: string): Promise<TestRegistry> {
    await ensurePackages(createReporter(), ["docker-registry", "openssl"], "the tests of registries");
    const folder = await mkdtemp(join(tmpdir(), "microsandbox-registry-"));
    await makeCertificates(folder, "127.0.0.1");
    await fill(folder);
    await writeFile(join(folder, "htpasswd"), `${HTPASSWD}\n`);
    await writeFile(join(folder, "plain.yml"), config("/r", PLAIN));
    await writeFile(
      join(folder, "private.yml"),
      config("/r", PRIVATE, "tls: { certificate: /r/server.pem, key: /r/server.key }") +
        "auth: { htpasswd: { realm: test, path: /r/htpasswd } }\n",
    );
    const both = "/registry serve /r/private.yml & exec /registry serve /r/plain.yml";
    const mounts = ["-v", `${folder}:/r`, "-v", "/usr/bin/docker-registry:/registry:ro"];
    const name = `${server}-registry`;
    const options = ["--name", name, "--network", `container:${server}`, "--user", "0", "--init"];
    await docker("run", "--detach", ...options, ...mounts, "debian:13.2-slim", "sh", "-c", both);
    return new TestRegistry(name, folder, await readFile(join(folder, "ca.pem"), "utf8"));
  }

  async stop(): Promise<void> {
    await docker("rm", "--force", this.container);
    await rm(this.folder, { recursive: true, force: true });
  }
}

/**
 * Debian's docker-registry on an address of this machine, for images that are pushed: with TLS by an authority that the
 * engines here trust and a password, or, on loopback, with neither.
 */
export class PushRegistry {
  readonly login = { registryUser: "puller", registryPassword: PASSWORD };
  private folder = "";
  private process: ChildProcess | undefined;

  /** @param address `IP:port` */
  constructor(readonly address: string) {}

  async start(): Promise<void> {
    await ensurePackages(createReporter(), ["docker-registry", "openssl"], "the tests of registries");
    this.folder = await mkdtemp(join(tmpdir(), "microsandbox-registry-"));
    const file = join(this.folder, "config.yml");
    if (this.isPlain) await writeFile(file, config(this.folder, this.address));
    else await this.secure(file);
    this.process = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
    await answers(this.address);
  }

  async stop(): Promise<void> {
    this.process?.kill();
    await rm(this.folder, { recursive: true, force: true });
    if (!this.isPlain) await rm(this.trusted, { recursive: true, force: true });
  }

  /** The tags of a repository. */
  async tags(repository: string): Promise<string[]> {
    return ((await this.get(`${repository}/tags/list`)) as { tags: string[] }).tags.sort();
  }

  /** The entries of a multi-platform tag: digest by architecture. */
  async digests(repository: string, tag: string): Promise<Record<string, string>> {
    const { manifests } = (await this.get(`${repository}/manifests/${tag}`)) as {
      manifests: { digest: string; platform: { architecture: string } }[];
    };
    return Object.fromEntries(manifests.map(({ digest, platform }) => [platform.architecture, digest]));
  }

  private async get(path: string): Promise<unknown> {
    const login = this.isPlain
      ? []
      : ["--user", `puller:${PASSWORD}`, "--cacert", join(this.folder, "ca.pem")];
    const url = `${this.isPlain ? "http" : "https"}://${this.address}/v2/${path}`;
    const list = "application/vnd.docker.distribution.manifest.list.v2+json";
    const { stdout } = await exec("curl", ["--silent", ...login, "--header", `Accept: ${list}`, url]);
    return JSON.parse(stdout);
  }

  private get isPlain(): boolean {
    return this.address.startsWith("127.");
  }

  /** Where an engine looks for the authorities of a registry, each time anew. */
  private get trusted(): string {
    return `/etc/docker/certs.d/${this.address}`;
  }

  private async secure(file: string): Promise<void> {
    const { folder } = this;
    await makeCertificates(folder, this.address.split(":")[0] ?? "");
    await writeFile(join(folder, "htpasswd"), `${HTPASSWD}\n`);
    const tls = `tls: { certificate: ${folder}/server.pem, key: ${folder}/server.key }`;
    const auth = `auth: { htpasswd: { realm: test, path: ${folder}/htpasswd } }\n`;
    await writeFile(file, config(folder, this.address, tls) + auth);
    await mkdir(this.trusted, { recursive: true });
    await copyFile(join(folder, "ca.pem"), join(this.trusted, "ca.crt"));
  }
}

const config = (folder: string, address: string, tls = "") =>
  [
    "version: 0.1",
    "log: { level: error }",
    `storage: { filesystem: { rootdirectory: ${folder}/data } }`,
    `http: { addr: "${address}"${tls && `, ${tls}`} }`,
    "",
  ].join("\n");

/** Pushes the two images with the engine, to a registry on this machine's loopback that is gone afterwards. */
async function fill(folder: string): Promise<void> {
  const address = `127.0.0.1:${await freePort()}`;
  const file = join(folder, "fill.yml");
  await writeFile(file, config(folder, address));
  const registry = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
  try {
    await answers(address);
    await mkdir(join(folder, "root", "etc"), { recursive: true });
    await writeFile(join(folder, "root", "etc", "passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    for (const image of ["library/tiny:1", "team/private:2"]) {
      await exec("sh", ["-c", `tar -C ${folder}/root -c . | docker import - ${address}/${image}`]);
      await docker("push", "--quiet", `${address}/${image}`);
      await docker("rmi", `${address}/${image}`);
    }
  } finally {
    registry.kill();
    await once(registry, "exit");
  }
}

/** Waits until something listens at an address, `IP:port`. */
async function answers(address: string): Promise<void> {
  const [host, port] = address.split(":");
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect({ host, port: Number(port) });
    const listens = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (listens) return;
    await sleep(100);
  }
  throw new Error(`nothing answers at ${address}`);
}

async function makeCertificates(folder: string, address: string): Promise<void> {
  const run = (line: string) => exec("sh", ["-c", line], { cwd: folder });
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  await run(`openssl req -x509 ${key} -days 2 -keyout ca.key -out ca.pem -subj "/CN=test authority"`);
  await run(`openssl req ${key} -keyout server.key -out server.csr -subj /CN=registry`);
  await writeFile(join(folder, "names"), `subjectAltName=IP:${address}\n`);
  await run(
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
  );
}
