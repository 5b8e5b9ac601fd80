import * as z from "zod";
import { readEnvironment } from "../environment";

/** Longest path of the folder: with the name of a socket in it, it must fit in the 107 bytes of a socket's address. */
const MAX_FOLDER = 75;

// As the kubelet checks the name of an extended resource: a domain, and a name below it.
const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const resourceName = new RegExp(`^${label}(\\.${label})*/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`);

const environmentSchema = z.object({
  /** The resource that pods ask for. A cluster's pods and its plugin name the same. */
  KVM_RESOURCE: z
    .string()
    .max(253)
    .regex(resourceName, "is not the name of a resource: DOMAIN/NAME, as in microsandbox.dev/kvm")
    .refine(
      (name) => !/^requests\.|^([^/]*\.)?kubernetes\.io\//.test(name),
      "is a name that Kubernetes keeps for itself: take a domain of your own",
    )
    .default("microsandbox.dev/kvm"),
  /** Containers of a node that can have the device at once: all share one, so it is no more than a bound. */
  KVM_DEVICES: z.coerce.number().int().min(1).max(10_000).default(1000),
  /**
   * Where this program sees the node's device, to tell whether it is there; containers get /dev/kvm in any case. "" for
   * what the kernel says alone: a pod then starts on a node without the device, too.
   */
  KVM_DEVICE: z.string().startsWith("/").or(z.literal("")).default("/dev/kvm"),
  /** The folder of the kubelet's socket. The kubelet has it here, whatever its own root folder is. */
  DEVICE_PLUGINS_FOLDER: z
    .string()
    .startsWith("/")
    .max(MAX_FOLDER)
    .default("/var/lib/kubelet/device-plugins"),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
});

export type Config = z.infer<typeof environmentSchema>;

/** The device plugin's settings. @throws ConfigError that names every mistake */
export const readConfig = (environment: Record<string, string | undefined>): Config =>
  readEnvironment("device plugin", environmentSchema, environment, ["KVM_DEVICE"]);
