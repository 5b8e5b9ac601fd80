import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePackages } from "../../toolchain/engine/apt";
import { exec } from "../../toolchain/exec";
import { createReporter } from "../../toolchain/report";
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
    await makeCertificates(folder);
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
    await answers(`http://${address}/v2/`);
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

async function answers(url: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await fetch(url).catch(() => undefined)) return;
    await sleep(100);
  }
  throw new Error(`nothing answers at ${url}`);
}

async function makeCertificates(folder: string): Promise<void> {
  const run = (line: string) => exec("sh", ["-c", line], { cwd: folder });
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  await run(`openssl req -x509 ${key} -days 2 -keyout ca.key -out ca.pem -subj "/CN=test authority"`);
  await run(`openssl req ${key} -keyout server.key -out server.csr -subj /CN=registry`);
  await writeFile(join(folder, "names"), "subjectAltName=IP:127.0.0.1\n");
  await run(
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
  );
}
