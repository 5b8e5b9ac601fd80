import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { agentSocketPath } from "../../../docker/gateway/src/backends/msb/agent-socket";
import type { MsbBackendOptions } from "../../../docker/gateway/src/backends/msb/assembly";
import { MsbBackend } from "../../../docker/gateway/src/backends/msb/backend";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { egressLimit } from "../../../docker/gateway/src/backends/msb/egress-limit";
import { atFileEnd } from "../../harness/file-end";
import type { World, WorldOptions } from "./backend-contract/world";
import { FAKE_MSB, temporaryFolder } from "./harness";

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** msb's backend over the fake msb, without a server above it. */
export class MsbWorld implements World {
  private readonly agents = new Map<string, { server: Server; sockets: Set<Socket> }>();

  private constructor(
    public backend: MsbBackend,
    public home: string,
    private options: MsbBackendOptions,
  ) {}

  static async make(
    { limits, namesPerOwner = true }: WorldOptions = {},
    change: Partial<MsbBackendOptions> = {},
  ): Promise<MsbWorld> {
    const home = temporaryFolder();
    for (const folder of ["workspace", "fake"]) mkdirSync(join(home, folder));
    const options: MsbBackendOptions = {
      ...{ msbPath: FAKE_MSB, home, workspace: join(home, "workspace"), kvmDevice: "/dev/null" },
      ...{
        starterArchive: "",
        autoPull: true,
        egress: egressLimit(egressPolicy.parse({})),
        namesPerOwner,
        resume: true,
      },
      limits: {
        ...{
          sandboxes: 100,
          totalSandboxes: 1000,
          memoryMib: 65_536,
          cpus: 64,
          volumes: 100,
          volumeGib: 100,
          snapshots: 100,
          imageGib: 100,
        },
        ...{ sandboxMemoryMib: 65_536, sandboxCpus: 64, sandboxDiskMib: 1_048_576, ...limits },
      },
      ...{
        limitsOf: () => ({}),
        reserveBytes: 0,
        booted: () => undefined,
        warm: { kinds: [], idleSeconds: 0, claimed: () => undefined },
        unusable: () => undefined,
        log: silent,
        ...change,
      },
    };
    const world = new MsbWorld(await MsbBackend.open(options), home, options);
    atFileEnd(() => world.close());
    await world.backend.resume();
    return world;
  }

  async boots(how: "well" | "fail" | "hang"): Promise<void> {
    tell(this.home, "boots", how);
  }

  async captures(how: "well" | "fail" | "hang"): Promise<void> {
    tell(this.home, "captures", how);
  }

  async pauses(how: "well" | "fail" | "hang"): Promise<void> {
    tell(this.home, "pauses", how);
  }

  async agent(id: string): Promise<void> {
    const path = agentSocketPath(this.home, id);
    mkdirSync(dirname(path), { recursive: true });
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket.on("close", () => sockets.delete(socket)).on("error", () => undefined));
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    this.agents.set(id, { server, sockets });
  }

  async kill(id: string): Promise<void> {
    writeFileSync(join(this.home, "fake", "sandboxes", `${id}.status`), "Crashed\n");
    const agent = this.agents.get(id);
    agent?.server.close();
    for (const socket of agent?.sockets ?? []) socket.destroy();
  }

  async say(id: string, source: "stdout" | "stderr", text: string): Promise<void> {
    const line = { t: new Date().toISOString(), s: source, d: text };
    appendFileSync(join(this.home, "sandboxes", id, "logs", "exec.log"), `${JSON.stringify(line)}\n`);
  }

  async restart(how: "drained" | "crashed"): Promise<void> {
    const old = this.backend;
    if (how === "drained") {
      await old.drain(Date.now() + 10_000);
      await old.close();
    } else this.moveToCopy();
    this.backend = await MsbBackend.open(this.options);
    await this.backend.resume();
    if (how === "crashed") await old.close();
  }

  /** A crash leaves what is on the disk at that moment: whatever the old backend does from here on, it does elsewhere. */
  private moveToCopy(): void {
    const home = copyOf(this.home);
    atFileEnd(() => this.close());
    const folder = join(home, "fake", "sandboxes");
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".status"))) {
      // The processes that boot end with the server; microVMs that run do not.
      if (readFileSync(join(folder, file), "utf8") === "Starting\n")
        writeFileSync(join(folder, file), "Crashed\n");
    }
    tell(this.home, "boots", "fail");
    tell(this.home, "captures", "fail");
    tell(this.home, "pauses", "fail");
    this.home = home;
    this.options = { ...this.options, home, workspace: join(home, "workspace") };
  }

  /** What the fake msb has of a sandbox, by a file's ending. */
  has = (id: string, what: string): boolean =>
    existsSync(join(this.home, "fake", "sandboxes", `${id}.${what}`));

  private async close(): Promise<void> {
    // Once, and before the newest of the folders is removed.
    if (!existsSync(this.home)) return;
    // What hangs ends, so that no process outlives the test.
    await this.boots("fail");
    await this.captures("fail");
    await this.pauses("fail");
    await this.backend.close();
    for (const { server, sockets } of this.agents.values()) {
      server.close();
      for (const socket of sockets) socket.destroy();
    }
  }
}

/** Whole at once: what is under way may be reading it. */
export function tell(
  home: string,
  what: "boots" | "captures" | "pauses",
  how: "well" | "fail" | "hang",
): void {
  const file = join(home, "fake", what);
  if (how === "well") rmSync(file, { force: true });
  else {
    writeFileSync(`${file}.new`, `${how}\n`);
    renameSync(`${file}.new`, file);
  }
}

/** How often a copy is tried. */
const COPIES = 50;

/** A copy of a home, but for its sockets; anew where a file goes meanwhile. */
function copyOf(home: string): string {
  for (let tries = 1; ; tries++) {
    const copy = temporaryFolder();
    try {
      cpSync(home, copy, { recursive: true, filter: (path) => path !== join(home, "run") });
      const torn = whyTorn(copy);
      if (torn === undefined) return copy;
      if (tries === COPIES) throw new Error(`the disk is not as it could be after a crash: ${torn}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || tries === COPIES) throw error;
    }
  }
}

/** What of a snapshot a copy has at several moments at once, as no disk has it; undefined where there is none. */
function whyTorn(home: string): string | undefined {
  const inFolder = (...path: string[]) => (existsSync(join(...path)) ? readdirSync(join(...path)) : []);
  const records = inFolder(home, "gateway", "snapshots").filter((file) => file.endsWith(".json"));
  const states = new Map(
    records.map((file) => {
      const { id, state } = JSON.parse(readFileSync(join(home, "gateway", "snapshots", file), "utf8"));
      return [`s-${id}`, state as string];
    }),
  );
  const [groups, notes] = [inFolder(home, "snapshots"), inFolder(home, "fake", "snapshots")];
  const isWhole = (group: string) =>
    inFolder(home, "snapshots", group).some((name) =>
      existsSync(join(home, "snapshots", group, name, "snapshot.json")),
    );
  // Its record is first and last; its note comes when it is whole, and goes before it.
  for (const group of [...groups, ...notes]) if (!states.has(group)) return `${group} has no record`;
  for (const group of notes) if (!isWhole(group)) return `${group} has a note and no files`;
  for (const [group, state] of states)
    if (state === "active" && !notes.includes(group)) return `${group} is active and has no note`;
  return undefined;
}
