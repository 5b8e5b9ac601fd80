import { randomBytes } from "node:crypto";
import { expect } from "vitest";
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

/** The gateway's own folder on the state volume. */
const kept = "/var/lib/microsandbox/gateway";

/** The secrets of a deployed stack: more of them are made, the stack lives on, and in the end they are looked for. */
export class SecretHunt {
  private readonly secrets: Secrets;
  private readonly password = randomBytes(24).toString("hex");
  private watch: ProcessWatch | undefined;

  constructor(
    private readonly stack: TestStack,
    private readonly url: string,
    private readonly key: string,
    /** Runs a shell line on the host. */
    private readonly onHost: (line: string) => Promise<string>,
    private readonly container: string,
  ) {
    this.secrets = { apiKey: key, "registry password": this.password };
  }

  /** Makes and rotates a key, and gives the stack a registry's password, which the next `up` brings there. */
  async begin(): Promise<void> {
    const path = 'registries.logins["registry.test"]';
    for (const [name, value, ...flags] of [
      ["username", "robot"],
      ["password", this.password, "--secret"],
    ] as const) {
      const set = await this.stack.pulumi("config", "set", "--path", ...flags, `${path}.${name}`, value);
      expect(set.exitCode, set.output).toBe(0);
    }
    // From here on: that the value of `config set` is an argument is this test's own doing.
    this.watch = new ProcessWatch(() => this.secrets);
    for (const words of [
      ["add", "agent"],
      ["rotate", "agent", "--overlap", "1h"],
    ]) {
      const made = await this.stack.keys(...words);
      expect(made.exitCode, made.output).toBe(0);
      const key = made.stdout.trim();
      expect(await this.status(key), `after ${words.join(" ")}`).toBe(200);
      this.secrets[`key of ${words.join(" ")}`] = key;
    }
  }

  /** Looks for all of them where they must not be. Each place has to show something, so that looking there counts. */
  async end(): Promise<void> {
    const { found, looks } = this.watch?.stop() ?? { found: ["nobody looked"], looks: 0 };
    expect(looks).toBeGreaterThan(100);
    // A line of the log about a request with a key, whatever was lost with a killed host.
    expect(await this.status(this.key)).toBe(200);
    expect(found, "command lines on this machine").toEqual([]);
    // Hashes of keys are no secret; but they have no business in any of these places either.
    const hashes = Object.entries(this.secrets).map(([name, secret]) => [`hash of ${name}`, hashOf(secret)]);
    const all = { ...this.secrets, ...Object.fromEntries(hashes) };
    const { stack, container } = this;
    const places: [place: string, holds: string, text: string][] = [
      ["outputs", "endpoint", (await stack.pulumi("stack", "output", "--json")).stdout],
      ["state", "key-file", (await stack.pulumi("stack", "export")).stdout],
      ["the list of keys", "agent", (await stack.keys("list")).stdout],
      ["docker inspect", "API_KEYS_FILE", await this.onHost(`docker inspect ${container}`)],
      ["the server's log", '\\"key\\":\\"default\\"', await this.log()],
      ["metrics", "msb_gateway", await this.metrics()],
      ["environment of the server", "DEV_MODE=false", await this.inServer("cat /proc/[0-9]*/environ")],
      ["command lines in the server", "server.cjs", await this.inServer("cat /proc/[0-9]*/cmdline")],
      [
        "command lines on the host",
        "dockerd",
        await this.onHost("\"cat /proc/[0-9]*/cmdline | tr '\\\\0' ' '\""),
      ],
      ["records of sandboxes", "owner", await this.inServer(`cat ${kept}/sandboxes/*.json`)],
    ];
    for (const [place, holds, text] of places) {
      expect(text, place).toContain(holds);
      expect(secretsIn(text, all), place).toEqual([]);
    }
    const keyFile = await this.inServer(`cat ${kept}/keys*`);
    expect(keyFile).toContain(hashOf(this.key));
    expect(secretsIn(keyFile, this.secrets), "what the server keeps of keys").toEqual([]);

    expect(await filesWithSecrets(".pulumi-state", this.secrets)).toEqual([]);
    expect(await filesWithSecrets(`Pulumi.${this.stack.name}.yaml`, this.secrets)).toEqual([]);
    expect(
      await filesWithSecrets(".pulumi-state", { known: "key-file" }),
      "grep finds what is there",
    ).not.toEqual([]);
    const image = (await docker("images", "--format", "{{.Repository}}:{{.Tag}}"))
      .split("\n")
      .find((name) => name.startsWith(`microsandbox-${this.stack.name}:`));
    expect(await linesInImage(image ?? "none", Object.values(this.secrets)), "layers and history").toBe(0);
    expect(await linesInImage(image ?? "none", ["/opt/gateway/server.cjs"])).toBeGreaterThan(0);
  }

  private async status(key = ""): Promise<number> {
    return (await fetch(`${this.url}/v1/quotas`, { headers: { authorization: `Bearer ${key}` } })).status;
  }

  private async metrics(): Promise<string> {
    return (await fetch(`${this.url}/metrics`, { headers: { authorization: `Bearer ${this.key}` } })).text();
  }

  /** The log's own files: after a host was killed `docker logs` can stop at a block that was never written. */
  private log(): Promise<string> {
    return this.onHost(`'cat "$(docker inspect --format "{{.LogPath}}" ${this.container})"*'`);
  }

  private inServer(line: string): Promise<string> {
    return this.onHost(`"docker exec ${this.container} sh -c '${line} 2>/dev/null; true' | tr '\\\\0' ' '"`);
  }
}
