import { hostname } from "node:os";
import type { LeaseId } from "../core/brand.ts";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/** 48 bits of time, then 80 random bits, as 26 lower-case Crockford base32 characters: the ULID layout. */
export function newLeaseId(now: number, random: Uint8Array): LeaseId {
  let time = "";
  for (let rest = now, i = 0; i < 10; i += 1, rest = Math.floor(rest / 32)) time = digit(rest % 32) + time;
  let noise = "";
  let bits = 0;
  let held = 0;
  for (const byte of random.subarray(0, 10)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      noise += digit((held >> bits) & 31);
    }
    held &= (1 << bits) - 1;
  }
  return `${time}${noise}` as LeaseId;
}

function digit(value: number): string {
  return alphabet.charAt(value);
}

/** `host/pid/nonce`: which process is at work on a lease. */
export function instanceName(nonce: string): string {
  return `${hostname()}/${process.pid}/${nonce}`;
}

/** Whether the process behind an instance is known to be gone. A process of another host is never known to be. */
export function isGone(instance: string, self: string): boolean {
  if (instance === self) return false;
  const [host, pid] = instance.split("/");
  const [ownHost, ownPid] = self.split("/");
  if (host !== ownHost) return false;
  // Another nonce under our own pid: an earlier life of this container, or of this machine.
  if (pid === ownPid) return true;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (cause) {
    // EPERM: it runs, under another user.
    return cause instanceof Error && "code" in cause && cause.code === "ESRCH";
  }
}
