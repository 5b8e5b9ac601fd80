/** Variables of the environment, in either case, as curl and others read them. */
type Environment = Record<string, string | undefined>;
const variable = (environment: Environment, name: string) =>
  environment[name.toLowerCase()] || environment[name.toUpperCase()] || undefined;

/**
 * The proxy that the environment names for a URL; undefined for none. Node's own fetch knows none of the variables.
 *
 * @example proxyFor("https://get.pulumi.com/x", { HTTPS_PROXY: "http://proxy.corp:3128" }) === "http://proxy.corp:3128"
 */
export function proxyFor(url: string, environment: Environment = process.env): string | undefined {
  const { protocol, hostname, host } = new URL(url);
  const exceptions = (variable(environment, "no_proxy") ?? "").toLowerCase().split(/[\s,]+/);
  const isException = exceptions.some((entry) => {
    const suffix = entry.replace(/^\*?\.?/, "");
    if (entry === "*") return true;
    return suffix !== "" && (host === suffix || hostname === suffix || hostname.endsWith(`.${suffix}`));
  });
  if (isException) return undefined;
  const own = variable(environment, protocol === "https:" ? "https_proxy" : "http_proxy");
  const proxy = own ?? variable(environment, "all_proxy");
  return proxy?.includes("://") === false ? `http://${proxy}` : proxy;
}
