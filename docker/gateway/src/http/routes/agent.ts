import type { Socket } from "node:net";
import * as z from "zod";
import { invalidRequest } from "../../errors";
import { errorResponses } from "../schema/common";
import { agentSocketPath, connectAgent, cutOff, pipe } from "../web-socket-pipe";
import { type App, type Context, findSandbox, holdOpen, notRunning, typed } from "./context";

const params = z.object({ id: z.string() });

type Dialled = {
  agent: Socket;
  /** Called when it is over. */
  giveBack: () => void;
  /** How it is ended when its key is no more. */
  pipe: { end: () => void };
};

/** The pipe to a sandbox's agent: exec, files and terminals ride it, unparsed. */
export function agentRoutes(plain: App, context: Context): void {
  const { config, metrics, sandboxes } = context;
  const dialled = new WeakMap<object, Dialled>();

  typed(plain).route({
    method: "GET",
    url: "/v1/sandboxes/:id/agent",
    config: { webSocket: true },
    schema: { tags: ["sandboxes"], params, response: errorResponses },
    // Everything that may fail happens before the upgrade, so that it fails with a status.
    preHandler: async (request) => {
      if (!request.ws) throw invalidRequest("a WebSocket upgrade is needed here");
      const { id } = request.params as { id: string };
      // Whether it runs its socket tells best; msb is asked only about one that is not known to.
      const record = await findSandbox(context, request, { id }, { aliveWillDo: true });
      if (!sandboxes.registry.alive(record)) throw notRunning(record, sandboxes.registry.status(record));
      // What ends it depends on how far it is: before the upgrade there is only the socket.
      const pipe = { end: () => void request.raw.socket.destroy() };
      const giveBack = holdOpen(context, request, () => pipe.end());
      try {
        const agent = await connectAgent(agentSocketPath(config.MSB_HOME, record.name));
        dialled.set(request, { agent, giveBack, pipe });
      } catch (error) {
        giveBack();
        throw error;
      }
      request.raw.socket.once("close", () => closeUnused(request));
    },
    handler: async () => {
      throw invalidRequest("a WebSocket upgrade is needed here");
    },
    wsHandler: async (client, request) => {
      const found = dialled.get(request);
      dialled.delete(request);
      if (!found) return client.close(1011);
      found.pipe.end = () => cutOff(client, found.agent);
      metrics.pipes.inc();
      try {
        await pipe(client, found.agent, {
          fromClient: (bytes) => metrics.pipeBytes.inc({ direction: "from_client" }, bytes),
          toClient: (bytes) => metrics.pipeBytes.inc({ direction: "to_client" }, bytes),
        });
      } finally {
        metrics.pipes.dec();
        found.giveBack();
      }
    },
  });

  /** A client that left, or a handshake that failed, between the dial and the upgrade. */
  function closeUnused(request: object): void {
    const found = dialled.get(request);
    dialled.delete(request);
    found?.agent.destroy();
    found?.giveBack();
  }
}
