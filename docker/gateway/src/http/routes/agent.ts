import type { Duplex } from "node:stream";
import { invalidRequest } from "../../errors";
import { ConnectionLimit } from "../../limits/rate-limit";
import { FramesShare } from "../frames-share";
import { PipeMemory } from "../pipe-memory";
import { errorResponses, idParams } from "../schema/common";
import { closeWithClient } from "../upgrades";
import { endRevoked, pipe } from "../web-socket-pipe";
import { type App, type Context, findSandbox, holdConnection, typed } from "./context";

/** Connections that msb's relay takes for one sandbox, but for the one with which the server itself follows it. */
const MOST_OF_A_SANDBOX = 127;

const params = idParams;

type Dialled = {
  agent: Duplex;
  /** How it is ended when its key is no more. */
  ending: { end: () => void };
  /** From now on the pipe closes the agent's side. */
  handOver: () => void;
};

/** The pipe to a sandbox's agent: exec, files and terminals ride it, unparsed. */
export function agentRoutes(plain: App, context: Context): void {
  const { metrics, backend } = context;
  const dialled = new WeakMap<object, Dialled>();
  const memory = new PipeMemory();
  const time = new FramesShare();
  const pipes = new ConnectionLimit(MOST_OF_A_SANDBOX, "to one sandbox");
  metrics.watchPipes(memory, () => pipes.total);

  typed(plain).route({
    method: "GET",
    url: "/v1/sandboxes/:id/agent",
    config: { webSocket: true, audit: true },
    schema: { tags: ["sandboxes"], params, response: errorResponses },
    // Everything that may fail happens before the upgrade, so that it fails with a status.
    preHandler: async (request) => {
      if (!request.ws) throw invalidRequest("a WebSocket upgrade is needed here");
      const { id } = request.params as { id: string };
      const { life } = request;
      // What ends it depends on how far it is: before the upgrade there is only the socket.
      const ending = { end: () => void request.raw.socket.destroy() };
      holdConnection(context, request, () => ending.end());
      const stopReading = closeWithClient(request.raw.socket);
      const sandbox = await findSandbox(context, request, { id });
      life.check();
      const giveBack = pipes.take(sandbox.id);
      const place = life.hold(giveBack);
      const agent = await backend.sandboxes.openAgent(sandbox.id, life.signal);
      // Its place is taken for as long as it is open, which may be longer than the request.
      place.handOver();
      agent.once("close", giveBack);
      const unused = life.hold(() => agent.destroy());
      life.check();
      stopReading();
      dialled.set(request, { agent, ending, handOver: unused.handOver });
    },
    handler: async () => {
      throw invalidRequest("a WebSocket upgrade is needed here");
    },
    wsHandler: async (client, request) => {
      const found = dialled.get(request);
      if (!found) return client.close(1011);
      const { agent, ending, handOver } = found;
      request.life.upgraded();
      request.raw.socket.resume();
      ending.end = () => endRevoked(client, agent);
      handOver();
      await pipe(client, agent, {
        ...{ memory, time },
        owner: request.keyId,
        connection: request.raw.socket,
        fromClient: (bytes) => metrics.pipeBytes.inc({ direction: "from_client" }, bytes),
        toClient: (bytes) => metrics.pipeBytes.inc({ direction: "to_client" }, bytes),
      });
    },
  });
}
