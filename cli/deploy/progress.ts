import { elapsed } from "../../setup/report";

/** The parts of the engine's events that tell what is under way. */
export interface ProgressEvent {
  resourcePreEvent?: {
    metadata: { op: string; urn: string; old?: StepState | null; new?: StepState | null };
  };
  resOutputsEvent?: { metadata: { urn: string } };
  resOpFailedEvent?: { metadata: { urn: string } };
}

interface StepState {
  /** Set where a plugin makes it: a component takes as long as all that is below it. */
  custom?: boolean;
}

const VERBS: Record<string, string> = {
  create: "creating",
  "create-replacement": "creating",
  update: "updating",
  delete: "deleting",
  "delete-replaced": "deleting",
  refresh: "looking at",
};

/** What a resource that takes long does where it is created or updated, by the end of its name. */
const LONG: Record<string, string> = {
  "-upgrade-trial": "testing the new server on a copy of the state, if there is one",
  "-server-container": "starting the server and waiting until it is ready",
  "-image-build": "building the server's image",
  "-image-load": "getting the server's image onto the host",
  "-image-push": "pushing the server's image to the registry",
  "-emulated-machine": "booting the emulated host",
  "-boot-guest": "booting a microVM to test KVM",
};

/** @example "creating sandboxes-boot-guest (booting a microVM to test KVM)" */
function describe(op: string, urn: string): string {
  const name = urn.split("::").pop() ?? urn;
  const makes = op !== "refresh" && VERBS[op] !== VERBS.delete;
  const what = makes && Object.entries(LONG).find(([end]) => name.endsWith(end))?.[1];
  return `${VERBS[op]} ${name}${what ? ` (${what})` : ""}`;
}

/**
 * Reports long steps of a run: a line for the oldest running step, after 5 seconds and then less and less often. Pulumi
 * itself only prints when a step starts and ends, which can be minutes apart.
 */
export class Progress {
  private readonly running = new Map<string, { op: string; since: number }>();
  private timer: NodeJS.Timeout | undefined;

  /** @param say takes each line @param heartbeatMs pause before the first one; at most six times this */
  constructor(
    private readonly say: (line: string) => void,
    private readonly heartbeatMs = 5_000,
  ) {
    this.beatIn(heartbeatMs);
  }

  take({ resourcePreEvent, resOutputsEvent, resOpFailedEvent }: ProgressEvent): void {
    const begun = resourcePreEvent?.metadata;
    const state = begun?.new ?? begun?.old;
    const isComponent = state ? !state.custom : false;
    if (begun && begun.op in VERBS && !isComponent)
      this.running.set(begun.urn, { op: begun.op, since: Date.now() });
    const ended = (resOutputsEvent ?? resOpFailedEvent)?.metadata;
    if (ended) this.running.delete(ended.urn);
  }

  end(): void {
    clearTimeout(this.timer);
  }

  private beatIn(pause: number): void {
    this.timer = setTimeout(() => {
      const [oldest, ...more] = this.running;
      if (oldest) {
        const [urn, { op, since }] = oldest;
        const others = more.length > 0 ? `, and ${more.length} more` : "";
        this.say(`  … ${elapsed(since)}: ${describe(op, urn)}${others}`);
      }
      this.beatIn(Math.min(2 * pause, 6 * this.heartbeatMs));
    }, pause);
  }
}
