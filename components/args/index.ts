export * from "./choices";
export * from "./groups";
export * from "./keys";
export * from "./limits";
export * from "./service";
