const form = /^([1-9]\d{0,8})(s|m|h)$/;
const seconds = { s: 1, m: 60, h: 3600 } as const;

/** Seconds of `30s`, `15m` or `8h`: one whole number above zero and one unit. `undefined` for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = form.exec(text) ?? [];
  return count && (unit === "s" || unit === "m" || unit === "h") ? Number(count) * seconds[unit] : undefined;
}
