const seconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const shape = /^([1-9][0-9]{0,6})([smhd])$/;

/** What a duration looks like, for editors. */
export const durationPattern = shape;

/** Seconds in `30s`, `15m`, `8h`, `2d`; `undefined` for anything else. One number and one unit: there is one way to write each. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = shape.exec(text) ?? [];
  return isUnit(unit) ? Number(count) * seconds[unit] : undefined;
}

/** The shortest exact form, e.g. `15m` for 900. */
export function formatDuration(total: number): string {
  for (const unit of ["d", "h", "m"] as const) if (total > 0 && total % seconds[unit] === 0) return `${total / seconds[unit]}${unit}`;
  return `${total}s`;
}

function isUnit(unit: string | undefined): unit is keyof typeof seconds {
  return unit !== undefined && unit in seconds;
}
