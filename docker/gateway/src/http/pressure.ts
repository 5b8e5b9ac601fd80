import { monitorEventLoopDelay } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ServiceError } from "../errors";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The request frees something: it is served however loaded the server is. */
    freesRoom?: boolean;
  }
}

/** Over that time, so that it takes more than one long turn of the event loop to count as load. */
const SAMPLE_MS = 3_000;
/** How often the event loop is looked at. */
const RESOLUTION_MS = 10;
/** Milliseconds that the event loop may be late on average. */
const MOST_DELAY_MS = 1_000;
/** The part of the heap that may be in use. */
const MOST_HEAP = 0.85;
const RETRY_AFTER_SECONDS = 5;

/**
 * Refuses what makes or writes something while the server has no time or no memory left: 503 with Retry-After, before
 * a body is read. What reads, stops or removes is served on.
 */
export function refuseUnderPressure(scope: FastifyInstance): void {
  const pressure = new Pressure();
  scope.addHook("onClose", async () => pressure.close());
  scope.addHook("onRequest", async (request) => {
    const lacking = makes(request) ? pressure.lacking : undefined;
    if (lacking)
      throw new ServiceError("unavailable", `the server has no ${lacking} left for this: try again later`, {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
  });
}

/**
 * What the process had no more of at the last sample. It opens no file and can't fail: process.memoryUsage() does
 * both, and a timer that throws ends the process.
 */
class Pressure {
  lacking: "time" | "memory" | undefined;
  private readonly delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private readonly timer: NodeJS.Timeout;

  constructor() {
    this.delays.enable();
    this.timer = setInterval(() => this.sample(), SAMPLE_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
    this.delays.disable();
  }

  private sample(): void {
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    // Without any figure, which is a NaN, the loop stood still once, and goes on now.
    const delayMs = this.delays.mean / 1e6 - RESOLUTION_MS;
    this.delays.reset();
    this.lacking = delayMs > MOST_DELAY_MS ? "time" : used > limit * MOST_HEAP ? "memory" : undefined;
  }
}

const makes = ({ method, routeOptions }: FastifyRequest): boolean =>
  ["POST", "PUT", "PATCH"].includes(method) && !routeOptions.config?.freesRoom;
