import * as z from "zod";
import { areUnique, known, list, objectName, optional } from "../../sandboxes/fields";
import { INHERITABLE, MOST_FORKS, RENEWED, SHARED_WITH_SOURCE } from "../../sandboxes/forks";
import { uuid } from "./common";
import { sandboxBody } from "./sandbox";

/** Either how many, or what each is called. */
export const forkBody = known({
  names: optional(list(objectName, MOST_FORKS).min(1).refine(areUnique, "names a fork twice")),
  count: optional(z.int().min(1).max(MOST_FORKS)),
  /** What the forks may share with their source, where it has that. */
  inherit: optional(list(z.enum(INHERITABLE), INHERITABLE.length)),
});

export const forksBody = z.object({
  /** Id of the source. */
  source: uuid,
  forks: z.array(sandboxBody),
  /** What the forks have in common with their source and each other. */
  shared_with_source: z.array(z.enum([...SHARED_WITH_SOURCE, ...INHERITABLE])),
  /** What is each fork's own. */
  renewed: z.array(z.enum(RENEWED)),
});
