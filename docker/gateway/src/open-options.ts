import type { FastifyBaseLogger } from "fastify";
import type { Config } from "./config";
import type { ConfigError } from "./errors";
import type { Metrics } from "./http/metrics";
import type { Kubernetes } from "./kubernetes/open";
import type { OwnerLimits } from "./limits/capacity";
import type { Owner } from "./sandboxes/backend";

export type OpenOptions = {
  config: Config;
  limitsOf: (owner: Owner) => OwnerLimits;
  metrics: Metrics;
  log: FastifyBaseLogger;
  /** For a router before a StatefulSet. */
  kubernetes?: Kubernetes;
  unusable: (error: ConfigError) => void;
  /** Takes what is to be closed with the server; the last is closed first. */
  onClose: (close: () => Promise<void>) => void;
};
