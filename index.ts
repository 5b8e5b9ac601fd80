import { readStackSettings } from "./components/config";
import { deployHosts, stackOutputs } from "./components/fleet";

/** The stack: one sandbox service on each host that the settings name, which is one as a rule. */
export = stackOutputs(deployHosts("microsandbox", readStackSettings()));
