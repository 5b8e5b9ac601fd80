const WARM = /^warm-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What msb calls a sandbox that was booted before anybody asked for it. */
export const warmHandle = (uuid: string): string => `warm-${uuid}`;
export const isWarm = (handle: string): boolean => WARM.test(handle);
