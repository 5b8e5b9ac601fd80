import type { FastifyRequest } from "fastify";
import type { Reference } from "../../sandboxes/backend";
import { errorResponses } from "../schema/common";
import { sandboxBody } from "../schema/sandbox";
import { type App, type Context, findSandbox, ONE_SANDBOX, sendSandbox, typed } from "./context";

const PAUSE =
  "An extension of the contract. The CPUs of the sandbox stop, and its memory, its room in the limits and its " +
  "connections stay; its status stays `running`, with `paused`. A command gets 409 until it is resumed. Answers after " +
  "25 s at the latest, with the sandbox as it stands then.";
const RESUME =
  "An extension of the contract. The sandbox goes on where it was paused. One that is stopped gets 409: it has to be " +
  "started. Answers after 25 s at the latest, with the sandbox as it stands then.";

/** Pause and resume of sandboxes that run, by id or name. */
export function pauseRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { service } = context;
  for (const [path, params] of ONE_SANDBOX) {
    const find = (request: FastifyRequest) => findSandbox(context, request, request.params as Reference);
    const common = { tags: ["sandboxes"], params, response: { 200: sandboxBody, ...errorResponses } };
    app.post(
      `${path}/pause`,
      { config: { freesRoom: true }, schema: { ...common, summary: "Pause a sandbox", description: PAUSE } },
      async (request, reply) =>
        sendSandbox(context, request, reply, await service.pause(await find(request))),
    );
    app.post(
      `${path}/resume`,
      {
        config: { longAnswer: true },
        schema: { ...common, summary: "Resume a sandbox", description: RESUME },
      },
      async (request, reply) =>
        sendSandbox(context, request, reply, await service.resume(await find(request))),
    );
  }
}
