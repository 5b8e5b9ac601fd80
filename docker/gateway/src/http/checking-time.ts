import type { FastifyInstance, FastifyRequest } from "fastify";
import { ServiceError } from "../errors";
import { TokenBuckets } from "../limits/token-buckets";
import { hasBody } from "./slow-body";

declare module "fastify" {
  interface FastifyRequest {
    /** When its body began to be read and checked, by performance.now(); 0 before and after. */
    checkedSince: number;
  }
}

/** Seconds of the event loop that one key gets for the check of its bodies: half of it, and some at once. */
const SHARE = { burst: 5, perSecond: 0.5 };
/** More than any key file holds. */
const MOST_KEYS = 100_000;

/**
 * Charges each key for the time that its bodies hold the event loop while they are read and checked. A key that took
 * more than its share gets 429 for what has a body, so that the others find some time.
 */
export function chargeForChecks(scope: FastifyInstance): void {
  const spent = new TokenBuckets(MOST_KEYS);
  scope.addHook("onRequest", async ({ raw, keyId, routeOptions }) => {
    if (!hasBody(raw) || routeOptions.config?.endlessBody) return;
    const wait = spent.owed(keyId, SHARE);
    if (wait > 0)
      throw new ServiceError("rateLimited", "the bodies of this key take too long to check", {
        retryAfterSeconds: Math.ceil(wait),
      });
  });
  const charge = (request: FastifyRequest) => {
    const { checkedSince, keyId } = request;
    if (checkedSince > 0) spent.spend(keyId, (performance.now() - checkedSince) / 1000, SHARE);
    request.checkedSince = 0;
  };
  scope.addHook("preHandler", (request, _reply, done) => {
    charge(request);
    done();
  });
  scope.addHook("onError", (request, _reply, _error, done) => {
    charge(request);
    done();
  });
}
