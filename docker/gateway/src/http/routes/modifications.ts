import { type ModificationPlan, modification, plannedModification } from "../../sandboxes/modification";
import { errorResponses, idParams } from "../schema/common";
import { type ModificationPlanBody, modificationPlanBody } from "../schema/modification";
import { type App, type Context, findSandbox, typed } from "./context";

/** Changes of sandboxes that are made, planned or applied, as clients of 0.7.13 ask for them. */
export function modificationRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { sandboxes } = context.backend;
  const common = {
    tags: ["sandboxes"],
    params: idParams,
    response: { 200: modificationPlanBody, ...errorResponses },
  };
  app.post(
    "/v1/sandboxes/:id/modifications/plan",
    { schema: { ...common, body: plannedModification } },
    async (request) => {
      const { id, name } = await findSandbox(context, request, request.params);
      return bodyOf(name, await sandboxes.planModification(id, request.body));
    },
  );
  app.put("/v1/sandboxes/:id", { schema: { ...common, body: modification } }, async (request) => {
    const { id, name } = await findSandbox(context, request, request.params);
    return bodyOf(name, await sandboxes.modify(id, request.body));
  });
}

const bodyOf = (sandbox: string, { changes, ...plan }: ModificationPlan): ModificationPlanBody => ({
  ...{ sandbox, ...plan },
  changes: changes.map((change) => ({ kind: "secret", field: "secret", ...change })),
});
