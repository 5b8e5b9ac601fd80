import * as z from "zod";
import { isKind, ServiceError, sandboxNotFound } from "../../errors";
import {
  DISPOSITIONS,
  type Modification,
  type ModificationPlan,
  type PlannedModification,
  SECRET_CHANGES,
} from "../../sandboxes/modification";
import { inTermsOf, type Msb, type MsbResult, outputOf } from "./command-line";
import type { Lifecycle } from "./lifecycle";
import type { Entry } from "./sandbox-index";
import { statusOf } from "./sandbox-view";

const remarks = z.array(z.object({ field: z.string(), message: z.string() }));
/** msb writes "next start", the contract next_start. */
const word = <const T extends readonly [string, ...string[]]>(words: T) =>
  z
    .string()
    .transform((given) => given.replaceAll(" ", "_"))
    .pipe(z.enum(words));

const planned = z.object({
  status: z.string(),
  applied: z.boolean(),
  changes: z.array(
    z.object({
      kind: z.literal("secret"),
      name: z.string(),
      change: word(SECRET_CHANGES),
      before_ref: z.string().optional(),
      after_ref: z.string().optional(),
      disposition: word(DISPOSITIONS),
      allow_hosts: z.array(z.string()).default([]),
      reason: z.string().optional(),
    }),
  ),
  conflicts: remarks,
  warnings: remarks,
});

/** How long a change waits for its turn, and for msb then. */
const CHANGE_MS = 60_000;

/** Calls msb. */
type Run = (args: string[]) => Promise<MsbResult>;

/**
 * Changes to sandboxes that are made, as far as msb's command line can make them: secrets removed.
 *
 * It takes a secret's value only as a reference to a variable of its own environment, keeps that reference, and asks for
 * the variable at every later start. The server would have to keep the value itself, and to give a program that runs as
 * root variables of a client's naming. So values are refused, and so are settings, for which there is no flag without a
 * value.
 */
export class Modifications {
  constructor(
    private readonly msb: Pick<Msb, "run" | "runNow" | "lanes">,
    private readonly lifecycle: Pick<Lifecycle, "hold">,
  ) {}

  /** @throws ServiceError as `SandboxBackend.planModification` */
  async plan(entry: Entry, change: PlannedModification): Promise<ModificationPlan> {
    const refused = whyUnsupported(
      change.secrets.length > 0,
      change.secrets[0]?.material.type === "provided",
    );
    if (refused) throw refused;
    refuseUnsettled(entry);
    const run: Run = (args) => this.msb.run(args, { owner: entry.record.owner });
    return ask(run, entry, change, ["--dry-run", ...flagOf(change.policy)]);
  }

  /** @throws ServiceError as `SandboxBackend.modify` */
  async apply(entry: Entry, change: Modification): Promise<ModificationPlan> {
    const refused = whyUnsupported(change.secrets.length > 0, change.secrets[0]?.value !== undefined);
    if (refused) throw refused;
    refuseUnsettled(entry);
    const { owner } = entry.record;
    const turn = () => ({ deadlineMs: Date.now() + CHANGE_MS });
    const run: Run = (args) => this.msb.runNow(args, turn());
    return this.msb.lanes.run("housekeeping", { owner, ...turn() }, async () => {
      // It may have been started while this waited. No await between this and the hold.
      refuseUnsettled(entry);
      return this.lifecycle.hold(entry, async () => {
        if (change.policy === "restart") await refuseRestart(run, entry, change);
        return ask(run, entry, change, change.policy === "next_start" ? ["--next-start"] : []);
      });
    });
  }
}

/** Whether a sandbox stops and starts is for requests to say, and for nothing beside the state machine. */
async function refuseRestart(run: Run, entry: Entry, change: Modification): Promise<void> {
  const { changes } = await ask(run, entry, change, ["--dry-run", "--restart"]);
  const needs = changes.find(({ disposition }) => disposition === "requires_restart");
  if (needs)
    throw new ServiceError(
      "modificationUnsupported",
      `secret ${needs.name}: this server restarts no sandbox for a change; use next_start, then stop and start it`,
    );
}

async function ask(
  run: Run,
  entry: Entry,
  { policy, secrets_remove }: Pick<Modification, "policy" | "secrets_remove">,
  flags: string[],
): Promise<ModificationPlan> {
  const { id, handle } = entry.record;
  // With nothing to do msb would take it for a mistake.
  if (secrets_remove.length === 0)
    return { status: statusOf(entry), applied: !flags.includes("--dry-run"), policy, ...nothing() };
  const removals = [...new Set(secrets_remove)].map((name) => `--secret-rm=${name}`);
  const args = ["modify", ...flags, ...removals, "--format", "json", "--", handle];
  const result = await run(args);
  const plan = planOf(result.stdout);
  if (result.code === 0 && plan) return { ...plan, policy };
  // A refusal is a plan that was not applied; it is no error of msb's.
  if (plan && !plan.applied) throw new ServiceError("modificationRefused", whyRefused(plan));
  try {
    outputOf(args, result);
  } catch (error) {
    const told = inTermsOf(error, { what: "sandbox", name: id });
    // What msb's parser says may repeat an argument; a name is no secret.
    throw isKind(told, "invalidSpec") ? new ServiceError("modificationRefused", told.message) : told;
  }
  throw new ServiceError("runtimeFailed", "msb did not say what it changed");
}

const nothing = () => ({ changes: [], conflicts: [], warnings: [] });

function planOf(stdout: string): z.output<typeof planned> | undefined {
  try {
    return planned.parse(JSON.parse(stdout));
  } catch {
    return undefined;
  }
}

function whyRefused({ conflicts, changes }: z.output<typeof planned>): string {
  if (conflicts[0]) return conflicts[0].message;
  const stuck = changes.find(
    ({ disposition }) => disposition === "unsupported" || disposition === "requires_restart",
  );
  if (!stuck) return "the change can't be made";
  const how = stuck.disposition === "unsupported" ? "can't be changed now" : "needs a restart of the sandbox";
  return `secret ${stuck.name} ${how}${stuck.reason ? `: ${stuck.reason}` : ""}`;
}

const flagOf = (policy: Modification["policy"]): string[] =>
  policy === "no_restart" ? [] : [`--${policy.replace("_", "-")}`];

function whyUnsupported(any: boolean, valued: boolean): ServiceError | undefined {
  if (!any) return undefined;
  return new ServiceError(
    "modificationUnsupported",
    valued
      ? "secrets: this server can't give a value to a sandbox that is made; remove it and make it again"
      : "secrets: this server can't change the settings of a secret of a sandbox that is made; remove it and make it again",
  );
}

const inProgress = (message: string) =>
  new ServiceError("modificationInProgress", message, { retryAfterSeconds: 1 });

/** Only what is made and rests in its state can be changed. */
function refuseUnsettled(entry: Entry): void {
  const { id, state } = entry.record;
  if (entry.ended) throw sandboxNotFound(id);
  if (!entry.settled || entry.deferred)
    throw inProgress(`something else is under way with the sandbox, which is ${statusOf(entry)}`);
  if (state === "paused")
    throw new ServiceError("modificationRefused", "the sandbox is paused; resume it first");
  if (state !== "running" && state !== "stopped" && state !== "failed")
    throw new ServiceError(
      "modificationRefused",
      "the sandbox was never started; remove it and make it again",
    );
}
