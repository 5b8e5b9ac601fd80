const QUANTITY = /^([+-]?\d+(?:\.\d+)?)([eE][+-]?\d+)?(m|k|[MGTPE]|[KMGTPE]i)?$/;
const POWERS = ["", "k", "m", "g", "t", "p", "e"];

/**
 * A quantity of Kubernetes as a number.
 * @returns NaN where the text is none
 * @example quantity("1500m") === 1.5
 * @example quantity("50Gi") === 50 * 1024 ** 3
 */
export function quantity(text: string): number {
  const [, digits, exponent = "", suffix = ""] = QUANTITY.exec(text) ?? [];
  const value = Number(`${digits}${exponent}`);
  if (suffix === "m") return value / 1000;
  const base = suffix.endsWith("i") ? 1024 : 1000;
  return value * base ** POWERS.indexOf(suffix.charAt(0).toLowerCase());
}
