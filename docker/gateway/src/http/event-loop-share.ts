import type { FastifyInstance, FastifyRequest } from "fastify";
import { ServiceError } from "../errors";
import { TokenBuckets } from "../limits/token-buckets";
import { hasBody } from "./slow-body";

declare module "fastify" {
  interface FastifyRequest {
    /** When its body began to be read and checked, or its handler to work, by performance.now(); 0 before and after. */
    checkedSince: number;
    /**
     * Does work for its answer that may hold the event loop for long, and charges its key for the time: of asynchronous
     * work for that until it is done, or waits for something.
     */
    charged: <T>(work: () => T) => T;
  }
  interface FastifyContextConfig {
    /** Its answer may take long to make: it is refused where its key has taken more than its share of the time. */
    longAnswer?: boolean;
  }
}

/** Seconds of the event loop that one key gets for its bodies and its long answers: half of it, and some at once. */
const SHARE = { burst: 5, perSecond: 0.5 };

/**
 * Charges each key for the time that its bodies hold the event loop, while they are read and checked, and by what is done for
 * them until that first waits for something; and for its long answers while they are made. A key that took more than its
 * share gets 429 for either, so that the others find some time.
 */
export function chargeForChecks(scope: FastifyInstance): void {
  const spent = new TokenBuckets();
  const isChecked = ({ raw, routeOptions }: FastifyRequest) =>
    hasBody(raw) && !routeOptions.config?.endlessBody;
  scope.addHook("onRequest", async (request) => {
    if (!request.routeOptions.config?.longAnswer && !isChecked(request)) return;
    const wait = spent.owed(request.keyId, SHARE);
    if (wait > 0)
      throw new ServiceError(
        "rateLimited",
        "the bodies and answers of this key take too much of the server's time",
        {
          retryAfterSeconds: Math.ceil(wait),
        },
      );
  });
  const charge = (request: FastifyRequest) => {
    const { checkedSince, keyId } = request;
    if (checkedSince > 0) spent.spend(keyId, (performance.now() - checkedSince) / 1000, SHARE);
    request.checkedSince = 0;
  };
  scope.decorateRequest("charged", function <T>(this: FastifyRequest, work: () => T): T {
    // No time is charged twice.
    const isInHandler = this.checkedSince > 0;
    charge(this);
    const began = performance.now();
    const chargeWork = () => spent.spend(this.keyId, (performance.now() - began) / 1000, SHARE);
    let result: T | undefined;
    try {
      result = work();
      return result;
    } finally {
      if (result instanceof Promise) whenItWaits(result, chargeWork);
      else chargeWork();
      if (isInHandler) this.checkedSince = performance.now();
    }
  });
  scope.addHook("onRoute", (route) => {
    const { handler } = route;
    route.handler = function (request, reply) {
      if (isChecked(request)) request.checkedSince = performance.now();
      try {
        return handler.call(this, request, reply);
      } finally {
        charge(request);
      }
    };
  });
  scope.addHook("preHandler", (request, _reply, done) => {
    charge(request);
    done();
  });
  scope.addHook("onError", (request, _reply, _error, done) => {
    charge(request);
    done();
  });
}

/** Calls once: when asynchronous work is done, or lets go of the event loop before. */
function whenItWaits(work: Promise<unknown>, call: () => void): void {
  let called = false;
  const once = () => {
    if (!called) call();
    called = true;
  };
  setImmediate(once);
  work.then(once, once);
}
