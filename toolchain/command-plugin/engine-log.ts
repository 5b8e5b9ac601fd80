import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";

/** Status lines replace each other on the screen, so when the engine falls behind the oldest may go. */
const MAX_QUEUED = 200;

/** Shows lines beside a resource while its command runs, through the engine's Log endpoint. */
export class EngineLog {
  private client: EngineClient | undefined;
  private queue: LogRequest[] = [];
  private sending: Promise<void> | undefined;
  private address: string | undefined;

  /** Sets where the engine listens; with no address lines are dropped. */
  connect(address: string | undefined): void {
    this.address = address;
  }

  /** Queues a line for the resource of that URN (or for the whole run, if it is empty). */
  status(urn: string, message: string): void {
    if (!this.address) return;
    const request = new LogRequest();
    request.setSeverity(LogSeverity.INFO);
    request.setMessage(message);
    request.setUrn(urn);
    request.setEphemeral(true);
    this.queue.push(request);
    if (this.queue.length > MAX_QUEUED) this.queue.shift();
    this.sending ??= this.send(this.address);
  }

  /** Waits until all that was queued has been sent. */
  async drained(): Promise<void> {
    await this.sending;
  }

  private async send(address: string): Promise<void> {
    this.client ??= new EngineClient(address, grpc.credentials.createInsecure());
    const client = this.client;
    for (let next = this.queue.shift(); next; next = this.queue.shift()) {
      const request = next;
      const deadline = Date.now() + 5_000;
      const failed = await new Promise<boolean>((resolve) =>
        client.log(request, new grpc.Metadata(), { deadline }, (error) => resolve(error !== null)),
      );
      if (failed) this.queue = []; // an engine that is gone or busy must not hold up the command
    }
    this.sending = undefined;
  }
}
