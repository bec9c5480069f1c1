/** One event of a stream (HTML Living Standard, section 9.2). */
export interface StreamEvent {
  readonly type: string;
  readonly data: string;
  /** The newest id that the stream has named. */
  readonly id: string | undefined;
}

/** The events of `text/event-stream`. Throws when one is longer than `limit` characters. */
export async function* readEvents(body: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  let size = 0;
  let type = "";
  let id: string | undefined;

  function field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") {
      data.push(value);
      size += value.length + 1;
    } else if (name === "event") type = value;
    else if (name === "id" && !value.includes("\0")) id = value;
  }

  for await (const chunk of body) {
    // A carriage return at the end may be half of a line break.
    const breaks = /\r\n|\n|\r(?!$)/g;
    breaks.lastIndex = Math.max(0, rest.length - 1);
    rest += decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let found = breaks.exec(rest); found; found = breaks.exec(rest)) {
      const line = rest.slice(from, found.index);
      from = breaks.lastIndex;
      if (line !== "") field(line);
      else {
        if (data.length > 0) yield { type: type === "" ? "message" : type, data: data.join("\n"), id };
        data = [];
        size = 0;
        type = "";
      }
    }
    rest = rest.slice(from);
    if (rest.length + size > limit) throw new RangeError("an event is too long");
  }
}
