import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { withVariables } from "../../../../components/host/connection";
import { outliving, script } from "../../../../components/host/scripts";
import { atFileEnd } from "../../../harness/file-end";

/** An upgrade on a host with a fake engine, as the command plugins and ssh start it. */
export class Upgrade {
  readonly folder: string;
  readonly client: ChildProcess;
  output = "";

  /**
   * @param found what the state volume says: the version, a copy that is pending, one that is unproven
   * @param hasServer whether there is a server that is to be replaced
   * @param engine the version whose state the new image does not take, what fails, and whether somebody is at work
   * @param before an earlier upgrade on the same host
   */
  constructor(
    slow: string,
    variables: Record<string, string | number> = {},
    found?: string[],
    hasServer = true,
    engine: { REFUSES?: string; BROKEN?: string; FAILS?: "swap"; BUSY?: string } = {},
    before?: Upgrade,
  ) {
    this.folder = before?.folder ?? mkdtempSync(join(tmpdir(), "microsandbox-upgrade-"));
    if (before === undefined) this.prepare(hasServer);
    if (engine.BUSY) writeFileSync(join(this.folder, "at-work"), "");
    const given = { CONTAINER: "server", IMAGE: "sha256:new", STATE: "state", WORKSPACE: "workspace" };
    const all = { ...given, RUN_FLAGS: "", BOOT: 1, OWNER: "", ...variables };
    this.client = spawn("/bin/sh", ["-c", "sh -s"], {
      detached: true,
      env: {
        ...process.env,
        PATH: `${this.folder}:${process.env.PATH}`,
        ...{ FAKE: this.folder, SLOW: slow, TMPDIR: this.folder },
        ...engine,
        ...(found && { FOUND: [...found, "end", ""].join("\n") }),
      },
    });
    this.client.stdin?.end(outliving(withVariables(all, script("server/upgrade"))));
    for (const stream of [this.client.stdout, this.client.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.output += String(chunk);
      });
  }

  private prepare(hasServer: boolean): void {
    atFileEnd(() => rmSync(this.folder, { recursive: true, force: true }));
    symlinkSync(join(__dirname, "fake-docker.sh"), join(this.folder, "docker"));
    if (hasServer) writeFileSync(join(this.folder, "running"), "true\n");
  }

  isRunning = () => this.read("running").trim() === "true";
  calls = () => this.read("calls").split("\n");
  has = (name: string) => existsSync(join(this.folder, name));
  /** Working folders of scripts that are left. */
  left = () => readdirSync(this.folder).filter((name) => name.startsWith("tmp."));
  ended = () =>
    new Promise<number | null>((resolve) =>
      this.client.once("close", (code: number | null) => resolve(code)),
    );

  async until(what: () => boolean): Promise<void> {
    for (let i = 0; i < 600 && !what(); i++) await sleep(50);
    expect(what(), `${what}\n${this.output}\n${this.read("calls")}`).toBe(true);
  }

  private read(name: string): string {
    return this.has(name) ? readFileSync(join(this.folder, name), "utf8") : "";
  }
}
