import { describeBackend } from "./backend-contract";
import { ServersWorld } from "./servers-world";

describeBackend("ServersBackend", (options) => ServersWorld.make(options));
