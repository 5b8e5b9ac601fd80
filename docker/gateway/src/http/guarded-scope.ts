import type { FastifyInstance } from "fastify";
import { invalidRequest, ServiceError } from "../errors";
import type { KeyCheck } from "../keys/key-check";
import type { RateLimit } from "../limits/rate-limit";
import { type BrowserGuardOptions, refuseBrowserPages, refuseKeyInAddress } from "./browser-guard";
import { chargeForChecks } from "./checking-time";
import { refuseUnderPressure } from "./pressure";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route takes WebSocket upgrades. */
    webSocket?: boolean;
  }
}

export type GuardOptions = {
  keys: KeyCheck;
  rate: RateLimit;
  browsers: BrowserGuardOptions;
};

/**
 * Registers routes behind the guard. Everything that is not on the server's short list of open routes belongs in
 * here; an address without a route is answered from here too. What is asked for is told by the scope that a route
 * was registered in, never by the text of an address, which can be spelled in many ways.
 */
export function guardedScope(
  app: FastifyInstance,
  { keys, rate, browsers }: GuardOptions,
  routes: (scope: FastifyInstance) => void,
): void {
  void app.register(async (scope) => {
    scope.addHook("onRequest", async (request) => {
      refuseBrowserPages(request, browsers);
      refuseKeyInAddress(request.url);
      request.key = keys.identify(request);
      request.keyId = request.key.id;
      rate.take(request.keyId, request.key.limits.requestsPerSecond);
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
