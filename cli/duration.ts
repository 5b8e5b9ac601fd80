import { UserError } from "../setup/user-error";

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** `30d`, `12h`, `90s` in milliseconds. @throws UserError that says what `option` takes */
export function parseDuration(text: string, option: string): number {
  const [, digits, unit = "s"] = /^(\d{1,6})([smhdw])?$/.exec(text.trim()) ?? [];
  const seconds = Number(digits) * (UNITS[unit] ?? Number.NaN);
  if (Number.isNaN(seconds) || (!/[smhdw]$/.test(text.trim()) && seconds !== 0)) {
    throw new UserError(
      `${option} ${text}: not a time. Accepted: a number with s, m, h, d or w, like 90s, 1h or 30d.`,
    );
  }
  return seconds * 1000;
}
