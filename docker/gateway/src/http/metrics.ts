import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { SandboxRegistry } from "../backends/msb/sandbox-registry";
import type { Capacity } from "../limits/capacity";
import { sandboxStatus } from "../sandboxes/spec";

/** The server's figures for Prometheus. One registry per server, so that tests may have several. */
export class Metrics {
  readonly registry = new Registry();
  readonly requests = new Histogram({
    name: "msb_gateway_request_seconds",
    help: "Requests by route and status, with their duration",
    labelNames: ["method", "route", "status"],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30, 95],
    registers: [this.registry],
  });
  readonly boots = new Histogram({
    name: "msb_gateway_boot_seconds",
    help: "Duration of microVM boots",
    labelNames: ["result"],
    buckets: [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80],
    registers: [this.registry],
  });
  readonly refusedKeys = new Counter({
    name: "msb_gateway_refused_keys_total",
    help: "Requests without a valid key, by what was wrong with it",
    labelNames: ["why"],
    registers: [this.registry],
  });
  readonly pipeBytes = new Counter({
    name: "msb_gateway_pipe_bytes_total",
    help: "Bytes that went through agent pipes",
    labelNames: ["direction"],
    registers: [this.registry],
  });
  readonly pipes = new Gauge({
    name: "msb_gateway_pipes_open",
    help: "Agent pipes that are open",
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Adds the figures that are counted when asked for. */
  watch(sandboxes: SandboxRegistry, capacity: Capacity): void {
    new Gauge({
      name: "msb_gateway_sandboxes",
      help: "Known sandboxes by status",
      labelNames: ["status"],
      registers: [this.registry],
      collect() {
        for (const status of sandboxStatus.options) this.set({ status }, 0);
        for (const record of sandboxes.store.all())
          if (record.phase !== "gone") this.inc({ status: sandboxes.status(record) });
      },
    });
    new Gauge({
      name: "msb_gateway_promised",
      help: "What running guests were promised, and the limit",
      labelNames: ["resource", "kind"],
      registers: [this.registry],
      collect() {
        const { limits } = capacity;
        for (const [resource, used] of Object.entries(capacity.usage()))
          this.set({ resource, kind: "used" }, used);
        this.set({ resource: "sandboxes", kind: "limit" }, limits.sandboxes);
        this.set({ resource: "memoryMib", kind: "limit" }, limits.memoryMib);
        this.set({ resource: "cpus", kind: "limit" }, limits.cpus);
      },
    });
  }
}
