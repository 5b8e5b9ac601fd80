// First: it loads what comes after it, in a third of the time of Pulumi's own TypeScript loader.
import "./toolchain/typescript-loader.cjs";
import { readStackSettings } from "./components/config";
import { Microsandbox } from "./components/microsandbox";

/** The stack: one sandbox service on the host that the settings name. */
const service = new Microsandbox("microsandbox", readStackSettings());

/** URL of the server. */
export const endpoint = service.endpoint;
/** Variables to export, so that the official SDKs and the msb CLI use this server. */
export const environment = service.environment;
/** The API key, a secret: `npm run pulumi -- stack output apiKey --show-secrets`. Empty in dev mode. */
export const apiKey = service.apiKey;
/** Container of the server and how to reach its host: `npm run sandbox` uses them. */
export const server = service.server;
/** What the KVM check found on the host. */
export const kvm = service.kvm;
/** Kernel of the guest that the boot check started, where that is on. */
export const guestKernel = service.guestKernel;
