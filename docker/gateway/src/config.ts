import * as z from "zod";
import { egressPolicy } from "./backends/msb/egress";
import { warmKind } from "./backends/msb/warm-kind";
import { readEnvironment } from "./environment";

const flag = z.stringbool({ truthy: ["true", "1", "yes", "on"], falsy: ["false", "0", "no", "off", ""] });
const seconds = z.coerce.number().int().min(0);
const count = z.coerce.number().int().min(1);
const port = z.coerce.number().int().min(1).max(65_535);

/** Name of an object of Kubernetes. */
const objectName = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);

function jsonOf<T extends z.ZodType>(schema: T) {
  const parsed = z.string().transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue("is not JSON");
      return z.NEVER;
    }
  });
  return parsed.pipe(schema);
}

/** A server that a router uses: its number, its BACKEND_PORT, and the name in its certificate (default: the URL's host). */
const serverAddress = z.strictObject({
  number: z.number().int().min(0).max(65_535),
  url: z.url({ protocol: /^https?$/ }),
  serverName: z.string().min(1).optional(),
});

/** The environment variables that the gateway reads, once, at its start. */
export const environmentSchema = z.object({
  /** TCP port, 1-65535. */
  PORT: port.default(5555),
  LISTEN_ADDRESS: z.string().min(1).default("0.0.0.0"),
  /** Any key is taken. The stack publishes such a server on loopback only. */
  DEV_MODE: flag.default(false),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
  /** Seconds that running sandboxes get to stop cleanly once SIGTERM arrives. */
  STOP_TIMEOUT_SECONDS: seconds.default(30),
  /** The msb program: a path, or a name looked up on PATH. */
  MSB_PATH: z.string().min(1).default("msb"),
  /** msb's home, on the state volume. Short: socket paths below it must fit in 107 bytes. */
  MSB_HOME: z.string().startsWith("/").max(60).default("/var/lib/microsandbox"),
  /** File with one key a line, as key-file.ts reads it. Without it, and without DEV_MODE, no key is taken. */
  API_KEYS_FILE: z.string().startsWith("/").optional(),
  /** Whether sandboxes and volumes are for the key alone that made them. */
  OWN_SANDBOXES: flag.default(false),
  /** Names of DNS that clients use for a server in dev mode, with commas. */
  HOST_NAMES: z.string().default(""),
  /** File with the certificate and its key, PEM; then the port speaks TLS and nothing else. */
  TLS_FILE: z.string().startsWith("/").optional(),
  /** Port on loopback that answers /readyz without TLS. */
  HEALTH_PORT: port.optional(),
  /** What guests may reach at most, as JSON. */
  EGRESS: jsonOf(egressPolicy).prefault("{}"),
  /** File with the host's public addresses, which guests may not reach: JSON, a list of ranges. */
  HOST_RANGES_FILE: z.string().startsWith("/").optional(),
  /** The device that guests need. */
  KVM_DEVICE: z.string().startsWith("/").default("/dev/kvm"),
  /** Archive of the starter image; "" for none. */
  STARTER_ARCHIVE: z.string().default("/usr/share/microsandbox/starter.tar"),
  /**
   * Whether the sandboxes that ran when the server was stopped are started again. Without it those of an earlier server
   * stay noted for the next one: it is for the trial of an upgrade.
   */
  RESUME_SANDBOXES: flag.default(true),
  /** Whether an image that is not cached is pulled when a sandbox asks for it. */
  AUTO_PULL_IMAGES: flag.default(true),
  /** Sandboxes to be kept booted for creates to come, as JSON: a list. Default: {@link warmByDefault}. */
  WARM: jsonOf(z.array(warmKind).max(20)).optional(),
  /** Folder that API clients see as the default volume. */
  WORKSPACE: z.string().startsWith("/").default("/workspace"),

  /** Which of several servers this one is: its ids say so. Default: it is the only one. */
  SERVER_NUMBER: z.coerce.number().int().min(0).max(65_535).optional(),
  /** Port on which routers use this server: on all addresses with the certificates below, else on loopback. */
  BACKEND_PORT: port.optional(),
  /** The servers that this one is a router before, as JSON: a list. It runs no sandboxes itself then. */
  SERVERS: jsonOf(
    z
      .array(serverAddress)
      .min(1)
      .max(1000)
      .refine(
        (all) => new Set(all.map(({ number }) => number)).size === all.length,
        "a number is there twice",
      ),
  ).optional(),
  /**
   * The StatefulSet whose pods are the servers that this one is a router before, in place of SERVERS; and their
   * BACKEND_PORT. Routers before the same one share their names. kubernetes/open.ts says what the account has to be
   * allowed.
   */
  STATEFUL_SET: objectName.optional(),
  STATEFUL_SET_PORT: port.optional(),
  /**
   * The Secret whose entries are written into API_KEYS_FILE, one after the other, whenever they change. Until the Secret was
   * read once no key is taken.
   */
  KEYS_SECRET: objectName.optional(),
  /** The API of Kubernetes. */
  KUBERNETES_API: z.url({ protocol: /^https?$/ }).default("https://kubernetes.default.svc"),
  /** The namespace of STATEFUL_SET, KEYS_SECRET and the names; default: that of the account. */
  KUBERNETES_NAMESPACE: objectName.optional(),
  /** Folder with the files token, ca.crt and namespace of the service account. */
  KUBERNETES_ACCOUNT: z.string().startsWith("/").default("/var/run/secrets/kubernetes.io/serviceaccount"),
  /** What servers and routers show each other: a certificate with its key, PEM; and the authority of all of them. */
  PEER_TLS_FILE: z.string().startsWith("/").optional(),
  PEER_CA_FILE: z.string().startsWith("/").optional(),

  /** Sandboxes running at once. */
  LIMIT_SANDBOXES: count.default(1000),
  /** Sandboxes in all, running or not. */
  LIMIT_TOTAL_SANDBOXES: count.default(10_000),
  /** MiB promised to all running guests together; default: the container's own limit less {@link memoryReserveMib}. */
  LIMIT_MEMORY_MIB: count.optional(),
  /**
   * CPUs promised to all running guests together; default: four times the container's own limit.
   * Unlike memory they are shared, not used up: too many make guests slow, and kill none.
   */
  LIMIT_CPUS: count.optional(),
  /** MiB and CPUs that one sandbox may ask for; default: LIMIT_MEMORY_MIB, and the container's own CPUs. */
  LIMIT_SANDBOX_MEMORY_MIB: count.optional(),
  LIMIT_SANDBOX_CPUS: count.optional(),
  /**
   * Seconds that a sandbox may run, and that it may go unused, where its client has set nothing; and the most that a
   * client may set. 0 for no end. A client that was killed leaves nothing running for ever.
   */
  LIMIT_MAX_DURATION_SECONDS: seconds.default(7 * 24 * 3600),
  LIMIT_IDLE_TIMEOUT_SECONDS: seconds.default(24 * 3600),
  /** Seconds without use after which a sandbox is paused until its next use; 0 for never. */
  LIMIT_IDLE_PAUSE_SECONDS: seconds.default(0),
  /** Volumes that clients have made. */
  LIMIT_VOLUMES: count.default(1000),
  /** GiB promised to all volumes with a capacity, and in the folders of the others; default: the size of the file system that holds MSB_HOME. */
  LIMIT_VOLUME_GIB: count.optional(),
  /** Snapshots of disks; each is a copy. */
  LIMIT_SNAPSHOTS: count.default(1000),
  /**
   * GiB that cached images may take: before a pull beyond it, those go that nobody used for the longest. Default: half
   * of the file system that holds MSB_HOME.
   */
  LIMIT_IMAGE_GIB: count.optional(),
  /** Bytes of one file that is uploaded to a volume. */
  LIMIT_UPLOAD_BYTES: count.default(16 * 1024 ** 3),
  /** Uploads at once, of all keys; one key gets half of them at most. */
  LIMIT_UPLOADS: count.default(256),
  /**
   * MiB of a disk that are to stay free, a tenth of it at most: below, nothing is created, pulled or uploaded. 0 for no
   * reserve.
   */
  LIMIT_DISK_RESERVE_MIB: z.coerce.number().int().min(0).default(1024),
  /** Bytes of a JSON body. */
  LIMIT_BODY_BYTES: count.default(2 * 1024 * 1024),
  /** Seconds for which no byte of an upload, a download or another answer may move before its connection is closed. */
  TRANSFER_IDLE_SECONDS: count.default(60),
  /** Seconds that a JSON body gets to arrive; clients give up on an answer after 30, or 95 for a start. */
  BODY_TIMEOUT_SECONDS: count.default(60),
  /** Requests per second with one key; bursts of twice as many pass. */
  LIMIT_REQUESTS_PER_SECOND: count.default(500),
  /** Pipes and log streams open at once with one key. */
  LIMIT_CONNECTIONS: count.default(2000),
});

export type Config = z.infer<typeof environmentSchema>;

/** Whether it runs no sandboxes itself, but others do for it. */
export const isRouter = ({ SERVERS, STATEFUL_SET }: Config): boolean =>
  SERVERS !== undefined || STATEFUL_SET !== undefined;

/** Reads the configuration; every mistake is reported at once, in one {@link ConfigError}. */
export const readConfig = (environment: Record<string, string | undefined>): Config =>
  readEnvironment("server", environmentSchema, environment, ["STARTER_ARCHIVE"]);
