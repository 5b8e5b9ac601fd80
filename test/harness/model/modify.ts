import type { Answered } from "../kept-alive";
import { check } from "./actions";
import type { Model } from "./model";
import type { World } from "./world";

/** A secret that it may have is removed from a sandbox, whether it runs or not. */
export async function modify(model: Model, world: World, name: string): Promise<void> {
  const known = model.get(name);
  if (!known) return;
  const unsure = model.inDoubt(name);
  const end = model.begin(name);
  let answer: Answered;
  try {
    answer = await world.ask("PUT", `/v1/sandboxes/${known.id}`, { body: { secrets_remove: ["TOKEN"] } });
  } catch (error) {
    end();
    throw error;
  }
  const sure = end() && !unsure && !model.inDoubt(name) && !model.lingers(name);
  // Whether its state allows it, no model knows; it may end while msb is asked.
  // The status in a plan is in the runtime's words.
  const plan = { ...answer, body: { ...answer.body, status: undefined } };
  check({ model, world }, `modify ${name}`, plan, [200, 409, 502, ...(sure ? [] : [404])]);
}
