import type { FastifyInstance } from "fastify";
import { invalidRequest, ServiceError } from "../errors";
import type { KeyCheck } from "../keys/key-check";
import type { RateLimit } from "../limits/rate-limit";
import { SharedPlaces } from "../limits/shared-places";
import { type BrowserGuardOptions, refuseBrowserPages, refuseKeyInAddress } from "./browser-guard";
import { chargeForChecks } from "./event-loop-share";
import { refuseUnderPressure } from "./pressure";

/** Requests with a key that are under way, of all keys: one that waits takes memory for as long as it waits. */
const MOST_UNDER_WAY = 2048;

declare module "fastify" {
  interface FastifyRequest {
    /** Gives its place among the requests under way back: it counts as a connection from then on. Null without a key. */
    leavePlace: (() => void) | null;
  }
  interface FastifyContextConfig {
    /** The route takes WebSocket upgrades. */
    webSocket?: boolean;
  }
}

/** What frees room has places of its own: whoever waits for a boot can still stop it. */
export type UnderWay = { freeing: SharedPlaces; others: SharedPlaces };

const places = (): UnderWay => ({
  freeing: new SharedPlaces(MOST_UNDER_WAY, "stops and removals"),
  others: new SharedPlaces(MOST_UNDER_WAY, "requests"),
});

export type GuardOptions = {
  keys: KeyCheck;
  rate: RateLimit;
  browsers: BrowserGuardOptions;
  /** Places of the requests that are under way. Default: so many. */
  underWay?: UnderWay;
};

/**
 * Registers routes behind the guard. Everything that is not on the server's short list of open routes belongs in
 * here; an address without a route is answered from here too. What is asked for is told by the scope that a route
 * was registered in, never by the text of an address, which can be spelled in many ways.
 */
export function guardedScope(
  app: FastifyInstance,
  { keys, rate, browsers, underWay = places() }: GuardOptions,
  routes: (scope: FastifyInstance) => void,
): void {
  void app.register(async (scope) => {
    scope.decorateRequest("leavePlace", null);
    scope.addHook("onRequest", async (request) => {
      refuseBrowserPages(request, browsers);
      refuseKeyInAddress(request.url);
      request.key = keys.identify(request);
      request.keyId = request.key.id;
      rate.take(request.keyId, request.key.limits.requestsPerSecond);
      const frees = request.method === "DELETE" || request.routeOptions.config?.freesRoom;
      request.leavePlace = (frees ? underWay.freeing : underWay.others).take(request.keyId);
      request.life.hold(request.leavePlace);
      if (request.ws && !request.routeOptions.config?.webSocket)
        throw invalidRequest("no WebSocket is served here");
    });
    chargeForChecks(scope);
    refuseUnderPressure(scope);
    scope.setNotFoundHandler((request) => {
      throw new ServiceError("notFound", `no route ${request.method} ${request.url.split("?")[0]}`);
    });
    routes(scope);
  });
}
