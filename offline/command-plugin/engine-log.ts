import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";

/** Status lines replace each other on the screen, so when the engine falls behind the oldest may go. */
const MAX_QUEUED = 1000;
/** An engine that is gone or busy must not hold up a command. */
const DEADLINE_MS = 5_000;

/** The engine's Log endpoint. */
export class EngineLog {
  private client: EngineClient | undefined;
  private address: string | undefined;

  /** Sets where the engine listens; with no address lines are dropped. */
  connect(address: string | undefined): void {
    this.address = address;
  }

  /** Status lines to show beside one resource, or beside none if the URN is empty. */
  statusLines(urn: string): StatusLines {
    return new StatusLines((message) => this.send(urn, message));
  }

  private async send(urn: string, message: string): Promise<boolean> {
    if (!this.address) return false;
    this.client ??= new EngineClient(this.address, grpc.credentials.createInsecure());
    const client = this.client;
    const request = new LogRequest()
      .setSeverity(LogSeverity.INFO)
      .setMessage(message)
      .setUrn(urn)
      .setEphemeral(true);
    const options = { deadline: Date.now() + DEADLINE_MS };
    return new Promise((resolve) =>
      client.log(request, new grpc.Metadata(), options, (error) => resolve(error === null)),
    );
  }
}

/** Sends one command's lines in order, one at a time. */
export class StatusLines {
  private queue: string[] = [];
  private sending = Promise.resolve();
  private busy = false;

  constructor(private readonly send: (message: string) => Promise<boolean>) {}

  push(message: string): void {
    this.queue.push(message);
    if (this.queue.length > MAX_QUEUED) this.queue.shift();
    if (!this.busy) this.sending = this.sendAll();
  }

  /** Waits until all lines have been sent. */
  async drained(): Promise<void> {
    await this.sending;
  }

  private async sendAll(): Promise<void> {
    this.busy = true;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      if (!(await this.send(next))) this.queue = [];
    }
    this.busy = false;
  }
}
