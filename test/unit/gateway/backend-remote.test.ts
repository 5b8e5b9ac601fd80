import { describeBackend } from "./backend-contract";
import { RemoteWorld } from "./remote-world";

describeBackend("RemoteBackend", (options) => RemoteWorld.make(options));
