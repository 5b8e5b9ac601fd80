/**
 * Stand-in for Pulumi's command plugin, for machines that can't download the vendor's. The engine starts it
 * with its own address as the last argument and reads the port of our gRPC service from the first line.
 */
import * as grpc from "@grpc/grpc-js";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import { Cancellation } from "./cancellation";
import { EngineLog } from "./engine-log";
import { commandService } from "./service";

/** What the engine itself accepts; a state with a large output comes back with each request. */
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

const cancellation = new Cancellation();
const log = new EngineLog();
log.connect(process.argv.slice(2).findLast((argument) => /:\d+$/.test(argument)));

const server = new grpc.Server({
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
});
server.addService(ResourceProviderService, commandService(cancellation, log));
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n`);
});

function stop(reason: string): void {
  cancellation.cancelAll(reason);
  process.exit(1);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop(signal));

// An engine that was killed says nothing: without this its plugin and the command would run on.
const engine = process.ppid;
setInterval(() => process.ppid !== engine && stop("the engine is gone"), 1000).unref();
