import { errorText } from "../../errors";
import { boundedResolved } from "../../sandboxes/resolved";
import { isUp } from "../../sandboxes/states";
import type { Lifecycle, LifecycleLog } from "./lifecycle";
import type { SandboxCommands } from "./sandbox-commands";
import type { Entry } from "./sandbox-index";

/** Asks msb once what it made of each sandbox, and keeps that. */
export class Resolver {
  constructor(
    private readonly lifecycle: Pick<Lifecycle, "update">,
    private readonly commands: Pick<SandboxCommands, "inspect">,
    private readonly log: LifecycleLog,
  ) {}

  /** Resolves when it is known, or can't be known now. Never rejects. */
  async resolve(entry: Entry): Promise<void> {
    if (entry.record.resolved || !isMade(entry)) return;
    entry.resolving ??= this.inspect(entry).finally(() => {
      entry.resolving = undefined;
    });
    await entry.resolving;
  }

  private async inspect(entry: Entry): Promise<void> {
    const { id: sandbox, handle, owner } = entry.record;
    try {
      const { resolved, leftOut } = boundedResolved(await this.commands.inspect(handle, { owner }));
      if (leftOut.length > 0)
        this.log.warn(
          { sandbox, leftOut },
          "its image's configuration is too large: these parts are not kept",
        );
      await this.lifecycle.update(entry, { resolved });
    } catch (error) {
      this.log.warn({ sandbox, err: errorText(error) }, "its configuration is not known");
    }
  }
}

const isMade = ({ record: { state } }: Entry) => isUp(state) || state === "stopped" || state === "failed";
