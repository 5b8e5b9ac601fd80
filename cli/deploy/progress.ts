import { elapsed } from "../../setup/report";

/** The parts of the engine's events that tell what is under way. */
export interface ProgressEvent {
  resourcePreEvent?: { metadata: { op: string; urn: string } };
  resOutputsEvent?: { metadata: { urn: string } };
  resOpFailedEvent?: { metadata: { urn: string } };
}

const VERBS: Record<string, string> = {
  create: "creating",
  "create-replacement": "creating",
  update: "updating",
  delete: "deleting",
  "delete-replaced": "deleting",
  refresh: "looking at",
};

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
    if (begun && begun.op in VERBS) this.running.set(begun.urn, { op: begun.op, since: Date.now() });
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
        this.say(`  … ${elapsed(since)}: ${VERBS[op]} ${urn.split("::").pop()}${others}`);
      }
      this.beatIn(Math.min(2 * pause, 6 * this.heartbeatMs));
    }, pause);
  }
}
