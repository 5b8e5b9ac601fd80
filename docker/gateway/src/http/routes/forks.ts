import type * as z from "zod";
import { invalidRequest } from "../../errors";
import type { Reference } from "../../sandboxes/backend";
import { forkNames, RENEWED, SHARED_WITH_SOURCE } from "../../sandboxes/forks";
import { sendJson } from "../paging";
import { sandboxBodyOf } from "../sandbox-body";
import { errorResponses } from "../schema/common";
import { forkBody, forksBody } from "../schema/fork";
import {
  type App,
  type Context,
  clientGoneSignal,
  findSandbox,
  ONE_SANDBOX,
  shapeFor,
  typed,
} from "./context";

const FORK =
  "An extension of the contract. Makes sandboxes that go on from where this one is, with its memory, its processes and " +
  "its disk, as `names` or by `count`: all of them, or none. Owner, network rules, limits and resources are the " +
  "source's, and lifetimes begin anew. A source with secrets or volumes gets 409 unless `inherit` names them. Answers " +
  "after 90 s at the latest; a fork that is not ready by then is `starting`.";

/** Forks of sandboxes that run or are paused, by id or name. */
export function forkRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  for (const [path, params] of ONE_SANDBOX)
    app.post(
      `${path}/fork`,
      {
        schema: {
          ...{ tags: ["sandboxes"], summary: "Fork a sandbox", description: FORK },
          ...{ params, body: forkBody, response: { 200: forksBody, ...errorResponses } },
        },
      },
      async (request, reply) => {
        const { names, count, inherit = [] } = request.body;
        if ((names === undefined) === (count === undefined))
          throw invalidRequest("names, count: either what the forks are called, or how many");
        const source = await findSandbox(context, request, request.params as Reference);
        const wanted = { names: names ?? forkNames(source.name, count ?? 0), inherit: new Set(inherit) };
        const forks = await context.service.fork(source, wanted, clientGoneSignal(reply));
        request.forkIds = forks.map(({ id }) => id);
        const made = request.charged(() =>
          JSON.stringify({
            source: source.id,
            forks: forks.map((fork) => sandboxBodyOf(fork, shapeFor(request))),
            shared_with_source: [...SHARED_WITH_SOURCE, ...wanted.inherit],
            renewed: [...RENEWED],
          } satisfies z.output<typeof forksBody>),
        );
        return sendJson(reply, Buffer.from(made)) as never;
      },
    );
}
