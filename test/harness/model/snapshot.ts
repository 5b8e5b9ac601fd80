import { type Answered, Unanswered } from "../kept-alive";
import { check } from "./actions";
import { type Model, snapshotKey } from "./model";
import type { World } from "./world";

/** The disk of a sandbox is captured under a name, or the snapshot of that name is removed. */
export async function snapshot(model: Model, world: World, source: string, name: string, remove: boolean) {
  const key = snapshotKey(name);
  const known = model.get(key);
  const sandbox = model.get(source);
  if (remove ? !known : !sandbox) return;
  const unsure = model.inDoubt(key) || model.troubled;
  const end = model.begin(key);
  // It is busy meanwhile.
  const endSource = remove ? () => true : model.begin(source);
  try {
    const answer: Answered = remove
      ? await world.ask("DELETE", `/v1/snapshots/${known?.id}`)
      : await world.ask("POST", "/v1/snapshots", { body: { sandbox_id: sandbox?.id, name } });
    const sure = end() && !unsure && !model.inDoubt(key);
    // Whether its sandbox can be captured, no model knows; it may end before msb is asked.
    const taken = [409, 404, 502, ...(sure && known ? [] : [202])];
    const allowed = remove ? (sure ? [200] : [200, 404, 409]) : taken;
    check({ model, world }, `${remove ? "delete" : "create"} ${key}`, answer, allowed);
    const { result } = answer.body;
    if (answer.status === 200 && known) model.delete(key, known.id);
    else if (answer.status === 202 && result)
      model.add({ id: result.location.id, name: key, ephemeral: false });
    else if (answer.status !== 409 && answer.status !== 404) model.doubt(key);
  } catch (error) {
    if (error instanceof Unanswered) model.doubt(key);
    throw error;
  } finally {
    endSource();
  }
}
