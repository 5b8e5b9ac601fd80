export type Named = { domain: string } | { domain_suffix: string };

/** Whether one covers all of another: a suffix covers itself and what is below it, a domain itself alone. */
export function covers(outer: Named, inner: Named): boolean {
  const [own, name] = [nameOf(outer), nameOf(inner)];
  if ("domain" in outer) return "domain" in inner && name === own;
  return name === own || name.endsWith(`.${own}`);
}

const nameOf = (named: Named) => ("domain" in named ? named.domain : named.domain_suffix).toLowerCase();
