import { getHeapStatistics } from "node:v8";
import underPressure from "@fastify/under-pressure";
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
/** Milliseconds that the event loop may be late on average. */
const MOST_DELAY_MS = 1_000;
/** The part of the heap that may be in use. */
const MOST_HEAP = 0.85;
const RETRY_AFTER_SECONDS = 5;

/**
 * Refuses what makes or writes something while the server has no time or no memory left: 503 with Retry-After, before
 * a body is read. What reads, stops or removes is served on.
 */
export async function refuseUnderPressure(scope: FastifyInstance): Promise<void> {
  await scope.register(underPressure, {
    sampleInterval: SAMPLE_MS,
    maxEventLoopDelay: MOST_DELAY_MS,
    maxHeapUsedBytes: getHeapStatistics().heap_size_limit * MOST_HEAP,
    pressureHandler: async (request, _reply, type, value) => {
      // No sample at all is a loop that stood still once, and goes on now.
      if (!makes(request) || !Number.isFinite(value)) return;
      const what = type === "heapUsedBytes" ? "memory" : "time";
      throw new ServiceError("unavailable", `the server has no ${what} left for this: try again later`, {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
    },
  });
}

const makes = ({ method, routeOptions }: FastifyRequest): boolean =>
  ["POST", "PUT", "PATCH"].includes(method) && !routeOptions.config?.freesRoom;
