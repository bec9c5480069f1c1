/** Text that is HTML already. Only `markup` makes it, so that everything else is escaped. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Piece = string | number | Html | undefined | false | readonly Piece[];

/**
 * A template whose values are text: what could be markup in them is escaped. `undefined` and `false` are nothing. Not
 * called `html`, or formatters would rearrange what is in it, and with it the script that our policy allows by its hash.
 */
export function markup(strings: TemplateStringsArray, ...values: readonly Piece[]): Html {
  return new Html(strings.reduce((text, string, index) => `${text}${textOf(values[index - 1])}${string}`));
}

function textOf(piece: Piece): string {
  if (piece === undefined || piece === false) return "";
  if (piece instanceof Html) return piece.text;
  if (typeof piece === "string" || typeof piece === "number") return escape(String(piece));
  return piece.map(textOf).join("");
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

/** Control, formatting (what turns text around or joins it unseen), private and unassigned characters, and lone surrogates. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * What a stranger calls themselves, as it can be shown: on one line, of bounded length, with nothing in it that
 * moves or hides other text. Letters that look like others stay; `looksForeign` tells of them.
 */
export function shown(text: string, longest = 80): string {
  // Cut first: the rest of ten kilobytes is not worth looking at. Combining marks are bounded with it.
  const clean = text
    .slice(0, 4 * longest)
    .normalize("NFC")
    .replace(/\s+/g, " ")
    .replace(unseen, "\u{fffd}")
    .trim();
  const characters = Array.from(clean).filter((character, at, all) => !(/\p{M}/u.test(character) && /\p{M}/u.test(all[at - 1] ?? "")));
  return characters.length > longest ? `${characters.slice(0, longest - 1).join("")}…` : characters.join("");
}

/** Whether there are letters beyond ASCII in it, some of which cannot be told from those of another name. */
export function looksForeign(text: string): boolean {
  return /[^\x20-\x7e]/.test(text);
}
