import type { WriteStream } from "node:tty";
import { stripVTControlCharacters, styleText } from "node:util";

type Stream = NodeJS.WritableStream & Partial<Pick<WriteStream, "isTTY">>;
type Style = Parameters<typeof styleText>[0];

/** Text, or text with a colour. Colour is never in the text itself: that may be a stranger's. */
type Cell = string | { readonly text: string; readonly style: Style };

/** Everything a command says goes through here: results to stdout, everything else to stderr. */
export interface Screen {
  /** A line of the result. */
  print(...cells: readonly Cell[]): void;
  /** The result as one JSON document on one line. */
  json(value: unknown): void;
  /** Columns; `empty` is said, to people only, when there are no rows. */
  table(headings: readonly string[], rows: readonly (readonly Cell[])[], empty: string): void;
  /** A remark for people; silent under `--json`. */
  note(line: string): void;
  error(lines: readonly string[], fix?: string): void;
  detail(line: string): void;
  /** A line that says what is going on, on a terminal only, until `done`. */
  progress(label: string): { readonly done: () => void };
}

export interface ScreenOptions {
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly json: boolean;
  readonly verbose: boolean;
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const clearLine = "\r\u001b[2K";

export function createScreen({ stdout, stderr, json, verbose }: ScreenOptions): Screen {
  // `styleText` itself honours NO_COLOR, FORCE_COLOR and streams that are no terminals.
  const paint = (stream: Stream, style: Style, text: string): string => styleText(style, text, { stream });
  const say = (stream: Stream, line: string): void => void stream.write(`${line}\n`);

  const show = (cell: Cell): string => (typeof cell === "string" ? printable(cell) : paint(stdout, cell.style, printable(cell.text)));

  return {
    print: (...cells) => say(stdout, cells.map(show).join("")),
    json: (value) => say(stdout, JSON.stringify(value)),

    table(headings, rows, empty) {
      if (rows.length === 0) return say(stderr, paint(stderr, "dim", empty));
      const cells = rows.map((row) => row.map(show));
      const widths = headings.map((heading, column) => Math.max(heading.length, ...cells.map((row) => width(row[column]))));
      const pad = (cell: string, column: number): string => cell + " ".repeat((widths[column] ?? 0) - width(cell));
      const line = (row: readonly string[]): string => row.map(pad).join("  ").trimEnd();
      say(stdout, paint(stdout, "dim", line(headings)));
      for (const row of cells) say(stdout, line(row));
    },

    note(line) {
      if (!json) say(stderr, printable(line));
    },

    error(lines, fix) {
      for (const line of lines) say(stderr, `${paint(stderr, "red", "error:")} ${printable(line)}`);
      if (fix !== undefined) say(stderr, printable(fix));
    },

    detail(line) {
      if (verbose) say(stderr, paint(stderr, "dim", printable(line)));
    },

    progress(label) {
      if (stderr.isTTY !== true || json) return { done() {} };
      let frame = 0;
      const draw = (): void => void stderr.write(`${clearLine}${frames[frame++ % frames.length] ?? ""} ${printable(label)}`);
      const timer = setInterval(draw, 80);
      timer.unref();
      draw();
      return {
        done() {
          clearInterval(timer);
          stderr.write(clearLine);
        },
      };
    },
  };
}

// oxlint-disable-next-line no-control-regex -- they are what is made visible
const unprintable = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Names and purposes come from agents and targets: nothing of theirs may move the cursor, add a line or turn the text around. */
function printable(text: string): string {
  return text.replace(unprintable, (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
}

function width(cell: string | undefined): number {
  return stripVTControlCharacters(cell ?? "").length;
}
