import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FakeMsb, faultyMsb } from "../faults";
import { type createBody, GatewayProcess, newHome } from "../gateway";
import { type Answered, type AskOptions, KeptAliveClient, Unanswered } from "../kept-alive";
import { writeKeyFile } from "../key-file";
import { removeFolder } from "../remove-folder";
import { FakeAgents, openPipe } from "./agents";
import { type Held, heldBy } from "./held";
import { OWNERS, type Owner } from "./model";

const KEYS: Record<Owner, string> = { ann: "msb_test", bob: "msb_other" };
const STOP_TIMEOUT_SECONDS = 3;
/** How long a gateway may take to end, its stop timeout included. */
const ENDS_WITHIN_MS = 15_000;

export type WorldOptions = {
  /** The bundled gateway. */
  script: string;
  /** File for the log of every process. */
  log: string;
};

/** One gateway over the fake msb, through kills and restarts: what really is, beside the model. */
export class World {
  readonly home = newHome();
  readonly msb = new FakeMsb(this.home);
  readonly agents = new FakeAgents(this.home);
  /** What was done, for whoever reads a failure. */
  readonly trace: string[] = [];
  /** What should not be, found by requests that nobody waits for. */
  readonly problems: string[] = [];
  /** Which run of the model it is: each has names of its own. */
  run = 0;
  /** The process is being ended: what it answers now may be that it stops. */
  ending = false;
  private readonly pending = new Set<Promise<void>>();
  gateway!: GatewayProcess;
  private clients!: Record<Owner, KeptAliveClient>;
  /** Whose key asks. */
  readonly owner: Owner = "ann";

  private constructor(private readonly options: WorldOptions) {}

  /** The same world for another key. */
  as = (owner: Owner): World => Object.create(this, { owner: { value: owner } });

  static async start(options: WorldOptions): Promise<World> {
    const world = new World(options);
    await world.boot();
    return world;
  }

  private async boot(): Promise<void> {
    const { script, log } = this.options;
    const keys = join(this.home, "keys");
    writeKeyFile(
      keys,
      OWNERS.map((id) => ({ id, key: KEYS[id], operator: id === "ann" })),
    );
    const env = {
      ...{ MSB_PATH: faultyMsb, STOP_TIMEOUT_SECONDS: String(STOP_TIMEOUT_SECONDS) },
      ...{ DEV_MODE: "false", API_KEYS_FILE: keys, OWN_SANDBOXES: "true" },
    };
    // An msb that hangs at the start is waited for some seconds at most.
    const started = await GatewayProcess.start({ script, log, home: this.home, env });
    this.ending = false;
    this.gateway = started;
    this.connect();
    started.program.ended.then((how) => {
      if (!this.ending) this.problems.push(`the gateway ended by itself: ${how}`);
    });
  }

  /** Ends the process and starts the next one over the same home. Requests under way stay unanswered. */
  async restart(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.ending = true;
    const { program } = this.gateway;
    program.child.kill(signal);
    const how = await Promise.race([program.ended, sleep(ENDS_WITHIN_MS, "not at all", { ref: false })]);
    if (signal === "SIGTERM" && how !== 0) this.problems.push(`SIGTERM: the gateway ended with ${how}`);
    await program.kill();
    this.disconnect();
    await this.boot();
  }

  /** One line of the trace, at the time at which it happened. */
  note(line: string): void {
    this.trace.push(`${new Date().toISOString().slice(14, 23)} ${line}`);
  }

  /** @throws Unanswered */
  async ask(method: string, path: string, options?: AskOptions): Promise<Answered> {
    const line = `${this.owner}: ${method} ${path} ${options?.body ? briefly(options.body) : ""}`;
    try {
      const answer = await this.clients[this.owner].ask(method, path, options);
      const said = answer.status === 200 ? (answer.body?.status ?? "") : JSON.stringify(answer.body);
      this.note(`${line} -> ${answer.status} ${said} ${answer.body?.id ?? ""}`);
      return answer;
    } catch (error) {
      this.note(`${line} -> ${String(error)}`);
      throw error;
    }
  }

  /** Lets a request go on while others are made; what it finds wrong is a problem. */
  track(work: Promise<void>): Promise<void> {
    const ended = work.catch((error) => {
      if (!(error instanceof Unanswered)) this.problems.push(String(error?.message ?? error));
    });
    this.pending.add(ended);
    ended.then(() => this.pending.delete(ended));
    return ended;
  }

  /** Resolves when no request is under way. */
  async answered(): Promise<void> {
    while (this.pending.size > 0) await Promise.all(this.pending);
  }

  /** Opens the pipe to a sandbox's agent and breaks it after a while. Answers with the status; 101 for a pipe. */
  async openPipe(id: string, openMs: number): Promise<number> {
    await this.agents.listen(id);
    return openPipe(this.gateway.port, KEYS[this.owner], id, openMs);
  }

  /** Uploads a file to a volume; `sent` bytes of it arrive before the client leaves, all of them if it does not. */
  upload(volume: string, bytes: number, sent: number): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const asked = this.bare("PUT", `/v1/volumes/${volume}/files/content`, {
        "x-msb-file-path": Buffer.from("/file").toString("base64url"),
        "content-length": String(bytes),
      });
      asked.on("error", (error) => reject(new Unanswered(`upload: ${error.message}`)));
      asked.on("response", (answer) => {
        answer.resume();
        asked.destroy();
        const { statusCode: status = 0, headers } = answer;
        resolve({ status, headers, body: {} });
      });
      asked.write(Buffer.alloc(Math.min(sent, bytes), 1), () => {
        if (sent >= bytes) asked.end();
        else asked.destroy(new Error("the client left"));
      });
    });
  }

  /** A request on a connection of its own. */
  private bare(method: string, path: string, headers: Record<string, string>) {
    return request({
      ...{ agent: false, host: "127.0.0.1", port: this.gateway.port, method, path },
      headers: { authorization: `Bearer ${KEYS[this.owner]}`, ...headers },
    });
  }

  private connect(): void {
    const { port } = this.gateway;
    this.clients = { ann: new KeptAliveClient(port, KEYS.ann), bob: new KeptAliveClient(port, KEYS.bob) };
  }

  private disconnect(): void {
    for (const client of Object.values(this.clients)) client.close();
  }

  /** What the gateway's process holds, once no client is connected any more. */
  async held(): Promise<Held> {
    await this.answered();
    this.disconnect();
    this.agents.endAll();
    this.connect();
    const metrics = await this.ask("GET", "/metrics", { headers: { connection: "close" } });
    return heldBy(this.gateway.program, String(metrics.body));
  }

  /** Lines of the log that tell of an error nobody foresaw. */
  unforeseen(): string[] {
    const lines = readFileSync(this.options.log, "utf8").split("\n");
    return lines
      .filter((line) => /unhandled|uncaught|unforeseen|nothing handles|"level":60|^ {4}at /i.test(line))
      .slice(0, 5);
  }

  async remove(): Promise<void> {
    this.ending = true;
    this.msb.recover();
    this.disconnect();
    this.agents.endAll();
    await this.gateway.program.kill();
    await removeFolder(this.home);
  }
}

/** What tells one create of a model from another. */
function briefly(body: unknown): string {
  const { name, reference, lifecycle } = body as ReturnType<typeof createBody>;
  return [name, reference, lifecycle?.ephemeral && "ephemeral"].filter(Boolean).join(" ");
}
