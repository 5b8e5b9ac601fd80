import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { type Asked, ask } from "../../harness/ask";
import { docker } from "../../harness/docker";
import { hashOf } from "../../harness/key-file";
import {
  filesWithSecrets,
  linesInImage,
  ProcessWatch,
  type Secrets,
  secretsIn,
} from "../../harness/secret-hunt";
import type { TestStack } from "../../harness/stack";

/** The lines of each private key in a text, which may be JSON in JSON: all but the last, which can be short. */
export const privateKeys = (text: string): string[][] =>
  [...text.matchAll(/BEGIN (?:EC )?PRIVATE KEY-----((?:(?:\s|\\+n)+[\w+/=]+)+)/g)].map(([, lines = ""]) =>
    lines.split(/\s+|\\+n/).filter((line) => line.length >= 50),
  );

/** The gateway's own folder on the state volume. */
const kept = "/var/lib/microsandbox/gateway";

/** What the hunt needs to know of a deployed stack. */
export interface Hunted {
  stack: TestStack;
  key: string;
  /** Where the server is now. */
  server: () => Asked;
  /** Runs a shell line on the host. */
  onHost: (line: string) => Promise<string>;
  container: string;
}

/**
 * The secrets of a deployed stack: more of them are made, the stack lives on, and in the end they are looked for.
 * The command lines of this machine are watched from the start.
 */
export class SecretHunt {
  private readonly secrets: Secrets;
  private readonly password = randomBytes(24).toString("hex");
  private readonly watch = new ProcessWatch();

  constructor(private readonly hunted: Hunted) {
    this.secrets = { apiKey: hunted.key, "registry password": this.password };
  }

  /** Makes and rotates a key, and gives the stack a registry's password, which the next `up` brings there. */
  async begin(): Promise<void> {
    const { stack } = this.hunted;
    const path = 'registries.logins["registry.test"]';
    for (const [name, value, ...flags] of [
      ["username", "robot"],
      ["password", this.password, "--secret"],
    ] as const) {
      const set = await stack.pulumi("config", "set", "--path", ...flags, `${path}.${name}`, value);
      expect(set.exitCode, set.output).toBe(0);
    }
    for (const words of [
      ["add", "agent"],
      ["rotate", "agent", "--overlap", "1h"],
    ]) {
      const made = await stack.keys(...words);
      expect(made.exitCode, made.output).toBe(0);
      const key = made.stdout.trim();
      expect(await this.status(key), `after ${words.join(" ")}`).toBe(200);
      this.secrets[`key of ${words.join(" ")}`] = key;
    }
  }

  /** The private keys of TLS, line by line: that is how they would show. The server has one, the authority's stays here. */
  private async learnTlsKeys(): Promise<void> {
    const state = (await this.hunted.stack.pulumi("stack", "export", "--show-secrets")).stdout;
    const keys = privateKeys(state);
    expect(new Set(keys.flat()).size, "keys of the authority and of the server").toBe(6);
    const [, served = ""] = privateKeys(await this.inServer(`cat ${kept}/tls.pem`))[0] ?? [];
    expect(keys.flat()).toContain(served);
    for (const [index, lines] of keys.entries())
      for (const line of lines) this.secrets[`private key ${index}: ${line.slice(0, 4)}…`] = line;
  }

  /** Looks for all of them where they must not be. Each place has to show something, so that looking there counts. */
  async end(): Promise<void> {
    await this.learnTlsKeys();
    const { looks, lines } = this.watch.stop();
    expect(looks).toBeGreaterThan(100);
    // That the value of `config set` is an argument is this test's own doing.
    const others = lines.filter((line) => !line.includes(" config set ")).join("\n");
    expect(others.includes("/pulumi up "), "the deployment was seen").toBe(true);
    expect(secretsIn(others, this.secrets), "command lines on this machine").toEqual([]);
    // A line of the log about a request with a key, whatever was lost with a killed host.
    expect(await this.status(this.hunted.key)).toBe(200);
    // Hashes of keys are no secret; but they have no business in any of these places either.
    const hashes = Object.entries(this.secrets).map(([name, secret]) => [`hash of ${name}`, hashOf(secret)]);
    const all = { ...this.secrets, ...Object.fromEntries(hashes) };
    const { stack, container, onHost } = this.hunted;
    const places: [place: string, holds: string, text: string][] = [
      ["outputs", "endpoint", (await stack.pulumi("stack", "output", "--json")).stdout],
      ["state", "key-file", (await stack.pulumi("stack", "export")).stdout],
      ["the list of keys", "agent", (await stack.keys("list")).stdout],
      ["docker inspect", "API_KEYS_FILE", await onHost(`docker inspect ${container}`)],
      ["the server's log", '\\"key\\":\\"default\\"', await this.log()],
      ["metrics", "msb_gateway", await this.metrics()],
      ["environment of the server", "DEV_MODE=false", await this.inServer("cat /proc/[0-9]*/environ")],
      ["command lines in the server", "server.cjs", await this.inServer("cat /proc/[0-9]*/cmdline")],
      ["command lines on the host", "dockerd", await onHost("\"cat /proc/[0-9]*/cmdline | tr '\\\\0' ' '\"")],
      ["records of sandboxes", "owner", await this.inServer(`cat ${kept}/sandboxes/*.json`)],
    ];
    for (const [place, holds, text] of places) {
      expect(text, place).toContain(holds);
      expect(secretsIn(text, all), place).toEqual([]);
    }
    const keyFile = await this.inServer(`cat ${kept}/keys*`);
    expect(keyFile).toContain(hashOf(this.hunted.key));
    expect(secretsIn(keyFile, this.secrets), "what the server keeps of keys").toEqual([]);

    expect(await filesWithSecrets(".pulumi-state", this.secrets)).toEqual([]);
    expect(await filesWithSecrets(`Pulumi.${stack.name}.yaml`, this.secrets)).toEqual([]);
    expect(
      await filesWithSecrets(".pulumi-state", { known: "key-file" }),
      "grep finds what is there",
    ).not.toEqual([]);
    const image = (await docker("images", "--format", "{{.Repository}}:{{.Tag}}"))
      .split("\n")
      .find((name) => name.startsWith(`microsandbox-${stack.name}:`));
    expect(await linesInImage(image ?? "none", Object.values(this.secrets)), "layers and history").toBe(0);
    expect(await linesInImage(image ?? "none", ["/opt/gateway/server.cjs"])).toBeGreaterThan(0);
  }

  private status = async (key: string) => (await ask(this.hunted.server(), "/v1/quotas", { key })).status;

  private metrics = async () => (await ask(this.hunted.server(), "/metrics", { key: this.hunted.key })).text;

  /** The log's own files: after a host was killed `docker logs` can stop at a block that was never written. */
  private log(): Promise<string> {
    return this.hunted.onHost(`'cat "$(docker inspect --format "{{.LogPath}}" ${this.hunted.container})"*'`);
  }

  private inServer(line: string): Promise<string> {
    return this.hunted.onHost(
      `"docker exec ${this.hunted.container} sh -c '${line} 2>/dev/null; true' | tr '\\\\0' ' '"`,
    );
  }
}
