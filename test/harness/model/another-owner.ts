import { check, type Verb } from "./actions";
import { type Model, volumeKey } from "./model";
import type { World } from "./world";

/** Whatever is done to what another owner has: it is not there. */
export async function tryAnothers(others: Model, world: World, name: string, verb: Verb): Promise<void> {
  const volume = others.get(volumeKey(name));
  const known = volume ?? others.get(name);
  if (!known) return;
  const path = `/v1/${volume ? "volumes" : "sandboxes"}/${known.id}`;
  const [method, tail] =
    volume || verb === "delete" ? ["DELETE", ""] : verb === "get" ? ["GET", ""] : ["POST", `/${verb}`];
  const answer = await world.ask(method, `${path}${tail}`, method === "POST" ? { body: {} } : {});
  check({ model: others, world }, `${verb} of another's ${name}`, answer, [404]);
}
