import { type Config, isRouter } from "./config";
import { ConfigError } from "./errors";

/** @throws ConfigError for what a router would ignore in silence, and for what it lacks */
export function checkRouter(config: Config): void {
  const { BACKEND_PORT, SERVER_NUMBER, WARM, SERVERS, PEER_TLS_FILE } = config;
  checkKubernetes(config);
  if (!isRouter(config)) return;
  const setting = SERVERS ? "SERVERS" : "STATEFUL_SET";
  const others = { BACKEND_PORT, SERVER_NUMBER, WARM: WARM?.[0] };
  for (const [name, value] of Object.entries(others))
    if (value !== undefined)
      throw new ConfigError(
        `${name} and ${setting}: a router runs no sandboxes itself; leave ${name} out there`,
      );
  const plain = SERVERS?.find(({ url }) => new URL(url).protocol === "http:");
  if (PEER_TLS_FILE && plain)
    throw new ConfigError(`SERVERS: ${plain.url} would not use PEER_TLS_FILE; begin it with https://`);
}

function checkKubernetes(config: Config): void {
  const { SERVERS, STATEFUL_SET, STATEFUL_SET_PORT, KEYS_SECRET, PEER_TLS_FILE } = config;
  const { API_KEYS_FILE, DEV_MODE } = config;
  const refused: [unknown, string][] = [
    [SERVERS && STATEFUL_SET, "SERVERS and STATEFUL_SET: servers are a list or a StatefulSet; leave one out"],
    [STATEFUL_SET && !STATEFUL_SET_PORT, "STATEFUL_SET: set STATEFUL_SET_PORT to its pods' BACKEND_PORT"],
    [
      STATEFUL_SET && !PEER_TLS_FILE,
      "STATEFUL_SET: pods are used over TLS alone; set PEER_TLS_FILE and PEER_CA_FILE",
    ],
    [STATEFUL_SET_PORT && !STATEFUL_SET, "STATEFUL_SET_PORT: it is for STATEFUL_SET; set both, or neither"],
    [KEYS_SECRET && !STATEFUL_SET, "KEYS_SECRET: it is for routers with STATEFUL_SET; set both, or neither"],
    [
      KEYS_SECRET && !API_KEYS_FILE,
      "KEYS_SECRET: set API_KEYS_FILE to a file in a folder that the server can write to",
    ],
    [KEYS_SECRET && DEV_MODE, "KEYS_SECRET and DEV_MODE: any key is taken in dev mode; leave one out"],
  ];
  const wrong = refused.find(([holds]) => holds);
  if (wrong) throw new ConfigError(wrong[1]);
}
