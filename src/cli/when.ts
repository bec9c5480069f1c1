/** How far away an instant is, in the words of a table: `4m 10s`, `2h`, `3d`. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${seconds % 60 === 0 ? "" : ` ${seconds % 60}s`}`;
  if (seconds < 172_800)
    return `${Math.floor(seconds / 3600)}h${Math.floor(seconds / 60) % 60 === 0 ? "" : ` ${Math.floor(seconds / 60) % 60}m`}`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** RFC 3339 in UTC, without fractions. */
export function instant(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, "Z");
}
