import type { Socket } from "node:net";
import { z } from "zod";
import { agentSocketPath, connectAgent, pipe } from "../agent-pipe";
import { invalidRequest } from "../create-request";
import { errorResponses } from "../schema/common";
import { type App, type Context, findSandbox, notRunning, typed } from "./context";

/** The one route that takes WebSockets. */
export const AGENT_ROUTE = "/v1/sandboxes/:id/agent";

const params = z.object({ id: z.string() });

/** The pipe to a sandbox's agent: exec, files and terminals ride it, unparsed. */
export function agentRoutes(plain: App, context: Context): void {
  const { config, connections, metrics, sandboxes } = context;
  const dialled = new WeakMap<object, { agent: Socket; giveBack: () => void }>();

  typed(plain).route({
    method: "GET",
    url: AGENT_ROUTE,
    schema: { tags: ["sandboxes"], params, response: errorResponses },
    // Everything that may fail happens before the upgrade, so that it fails with a status.
    preHandler: async (request) => {
      if (!request.ws) throw invalidRequest("a WebSocket upgrade is needed here");
      const { id } = request.params as { id: string };
      // Whether it runs its socket tells best; msb is asked only about one that is not known to.
      const record = await findSandbox(context, request, { id }, { aliveWillDo: true });
      if (!sandboxes.registry.alive(record)) throw notRunning(record, sandboxes.registry.status(record));
      const giveBack = connections.take(request.keyId);
      try {
        dialled.set(request, {
          agent: await connectAgent(agentSocketPath(config.MSB_HOME, record.name)),
          giveBack,
        });
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
