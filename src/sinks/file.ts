import { hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import type { AuditSink } from "../core/ports.ts";

/** A file of JSON Lines beside the log, for collectors that follow files. */
export const fileSinkConfig = z.strictObject({
  type: z.literal("file"),
  path: z.string().min(1).describe("File that entries are appended to, one JSON object a line. Created with mode 0600."),
});

export type FileSinkConfig = z.infer<typeof fileSinkConfig>;

export interface FileSink extends AuditSink {
  close(): Promise<void>;
}

/**
 * Appends, and returns when the bytes are on the disk. Entries that the file already has are not written
 * again: after a crash the same batch comes once more. A torn last line is cut off. The file may be
 * renamed away at any time; the next batch then starts a new one.
 */
export function createFileSink(config: Pick<FileSinkConfig, "path">): FileSink {
  const { path } = config;
  let file: OpenFile | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  async function append(batch: readonly Uint8Array[]): Promise<void> {
    if (file && !(await isStill(path, file))) await close();
    file ??= await openFile(path);
    const fresh = await withoutKnown(batch, file);
    const last = fresh.at(-1);
    if (!last) return;
    try {
      await writeAll(file, fresh);
      file.last = { seq: placeOf(last).seq, line: last };
    } catch (cause) {
      // Part of the batch may be in the file, or only in memory when it was the sync that failed. It comes again whole.
      await file.handle.truncate(file.size).catch(() => undefined);
      await close();
      throw cause;
    }
  }

  async function close(): Promise<void> {
    const closing = file;
    file = undefined;
    await closing?.handle.close();
  }

  /** One at a time, even when a caller that gave up waiting has come back. */
  function inTurn(work: () => Promise<void>): Promise<void> {
    const turn = queue.then(work);
    queue = turn.catch(() => undefined);
    return turn;
  }

  return {
    send: (batch, signal) =>
      inTurn(async () => {
        signal.throwIfAborted();
        await append(batch);
      }),
    close: () => inTurn(close),
  };
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly inode: number;
  size: number;
  last: { readonly seq: number; readonly line: Uint8Array } | undefined;
}

async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path, "a+", 0o600);
  try {
    const { ino, size: found } = await handle.stat();
    const size = await endOfLastLine(handle, found);
    if (size < found) await handle.truncate(size);
    // A new file is only on the disk once its folder is.
    if (found === 0) await syncFolder(dirname(path));
    const line = size > 0 ? await lineBefore(handle, size) : undefined;
    return { handle, inode: ino, size, last: line && { seq: placeOf(line).seq, line } };
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

async function writeAll(file: OpenFile, lines: readonly Uint8Array[]): Promise<void> {
  const bytes = Buffer.concat(lines.flatMap((line) => [line, newlineBytes]));
  for (let done = 0; done < bytes.length;) done += (await file.handle.write(bytes, done)).bytesWritten;
  await file.handle.sync();
  file.size += bytes.length;
}

/** The entries that come after the file's last one. Throws when the file is not a copy of the log that they come from. */
async function withoutKnown(batch: readonly Uint8Array[], file: OpenFile): Promise<readonly Uint8Array[]> {
  const { last } = file;
  if (!last) return batch;
  const places = batch.map(placeOf);
  const fresh = places.findIndex(({ seq }) => seq > last.seq);
  const known = fresh < 0 ? batch.length : fresh;
  const lastKnown = batch[known - 1];
  const lastPlace = places[known - 1];
  if (lastKnown && lastPlace) {
    const there = lastPlace.seq === last.seq ? last.line : await findLine(file, lastPlace.seq);
    if (!there || Buffer.compare(there, lastKnown) !== 0) throw foreign(lastPlace.seq);
  }
  const next = places[known];
  if (next && next.seq > last.seq + 1)
    throw new Error(`the file ends with entry ${last.seq}, and the next is ${next.seq}: lines were removed from it. Move it away`);
  // Each entry carries the leaf hash of the one before (RFC 6962).
  if (next && next.prev !== hash("sha256", Buffer.concat([leafPrefix, last.line]), "base64")) throw foreign(last.seq);
  return batch.slice(known);
}

const newline = 0x0a;
const newlineBytes = Buffer.of(newline);
const leafPrefix = Buffer.of(0);
const window = 64 * 1024;

/** The offset just after the last newline: whatever follows it was torn by a crash. */
async function endOfLastLine(handle: FileHandle, size: number): Promise<number> {
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - window);
    const at = (await readAt(handle, start, end)).lastIndexOf(newline);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

/** The line whose newline is the last byte before `end`. */
async function lineBefore(handle: FileHandle, end: number): Promise<Buffer> {
  const start = await endOfLastLine(handle, end - 1);
  return readAt(handle, start, end - 1);
}

/** Reads backwards: what is looked for is near the end. */
async function findLine({ handle, size }: OpenFile, seq: number): Promise<Buffer | undefined> {
  for (let end = size; end > 0;) {
    const line = await lineBefore(handle, end);
    const found = placeOf(line).seq;
    if (found === seq) return line;
    if (found < seq) return undefined;
    end -= line.length + 1;
  }
  return undefined;
}

async function readAt(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.alloc(end - start);
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) throw new Error("the file became shorter while it was read");
    done += bytesRead;
  }
  return bytes;
}

function placeOf(line: Uint8Array): { readonly seq: number; readonly prev: string } {
  const entry: unknown = JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("utf8"));
  if (typeof entry === "object" && entry !== null && "seq" in entry && "prev" in entry) {
    const { seq, prev } = entry;
    if (typeof seq === "number" && typeof prev === "string") return { seq, prev };
  }
  throw new SyntaxError("a line that is not an entry of the audit log");
}

async function isStill(path: string, file: OpenFile): Promise<boolean> {
  const found = await stat(path).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  // Shorter: someone emptied it in place, as some log rotation does.
  return found !== undefined && found.ino === file.inode && found.size >= file.size;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function foreign(seq: number): Error {
  return new Error(`entry ${seq} in the file is not entry ${seq} of this log: the file belongs to another log, or was changed`);
}
