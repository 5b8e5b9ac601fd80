import type { StackSettings } from "./schema";
import type { SettingError } from "./setting-errors";
import { hasTls, lacksCertificate } from "./tls";

/** What a server that is left running must have: all that is missing, where `production` asks for it. */
export function productionErrors(given: Partial<StackSettings>): SettingError[] {
  if (given.production !== true) return [];
  const { privileged, devMode, tls, exposeHttp, kvmCheck, volumes } = given;
  const needs: [boolean, string, string, string, SettingError["fix"][number]][] = [
    [privileged === true, "privileged", "is true", "false", { key: "privileged", value: "false" }],
    [
      devMode === true,
      "devMode",
      "is true: requests need no API key",
      "false",
      { key: "devMode", value: "false" },
    ],
    [
      exposeHttp === false && tls !== undefined && !hasTls(tls) && !lacksCertificate(tls),
      "tls",
      "is not set: API keys and data can be read in transit",
      "generate true, or a certificate and its key; exposeHttp true if a reverse proxy terminates TLS",
      { key: "tls.generate", value: "true", path: true },
    ],
    [
      kvmCheck === "off" || kvmCheck === "device",
      "kvmCheck",
      `is ${kvmCheck}: a host that can't boot a microVM would go unnoticed`,
      "boot",
      { key: "kvmCheck", value: "boot" },
    ],
    [
      volumes?.keep === false,
      "volumes.keep",
      "is false: a destroy would remove all data",
      "true",
      { key: "volumes.keep", value: "true", path: true },
    ],
  ];
  return needs
    .filter(([missing]) => missing)
    .map(([, key, problem, accepted, fix]) => ({
      key,
      problem: `${problem}, and production is true`,
      accepted: `${accepted}, or production false`,
      fix: [fix],
    }));
}
