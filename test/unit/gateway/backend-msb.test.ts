import { describeBackend } from "./backend-contract";
import { MsbWorld } from "./msb-world";

describeBackend("MsbBackend", (options) => MsbWorld.make(options));
