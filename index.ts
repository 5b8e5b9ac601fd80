import { deployHosts, SERVICE, stackOutputs } from "./components/fleet";
import { readStackSettings } from "./components/stack-settings";

/** The stack: one sandbox service on each host that the settings name, which is one as a rule. */
export = stackOutputs(deployHosts(SERVICE, readStackSettings()));
