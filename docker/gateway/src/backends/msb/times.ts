/** Seconds for which an ephemeral sandbox that ended still answers `stopped`. */
export const TOMBSTONE_SECONDS = 120;

/** A time to come, in RFC 3339. */
export const inSeconds = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();

/** Whether a time of RFC 3339 has come; none has always. */
export const isPast = (time: string | null, now = Date.now()): boolean =>
  time === null || Date.parse(time) <= now;
