import { viewsOf } from "./views.ts";

/**
 * Values of fewer bytes are not searched for: they occur in ordinary text, and blanking `admin` out
 * of every sentence hides nothing. Whoever lends such a value is told (`tooShort`).
 */
export const minimumBytes = 6;

/**
 * The byte strings by which a value shows itself: as it is, in base64 and base64url at each of the
 * three alignments (so that it is found inside a longer encoded text), and in hex of either case.
 *
 * Escapes (percent, JSON, HTML) are not listed here. A text can mix escaped and plain characters in
 * 2ⁿ ways, so they are undone in the text instead (`views.ts`) and these forms are looked for in that.
 * The same is undone in the value: one that itself looks escaped, or holds white space, is still found
 * in a view in which more was undone than its sender had done.
 */
export function formsOf(value: Uint8Array): readonly Buffer[] {
  const raw = Buffer.from(value);
  const hex = raw.toString("hex");
  const forms = new Set([raw.toString("latin1"), hex, hex.toUpperCase()]);
  // Form encoding writes a space as a plus, and a plus as an escape.
  forms.add(raw.toString("latin1").replaceAll(" ", "+"));
  for (const view of viewsOf(raw, { more: false, origins: false }))
    if (view.bytes.length >= minimumBytes) forms.add(view.bytes.toString("latin1"));
  for (const standard of base64Forms(raw)) {
    forms.add(standard);
    forms.add(standard.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return Array.from(forms, (form) => Buffer.from(form, "latin1"));
}

/**
 * At each alignment only the characters that depend on nothing but the value: its neighbours decide
 * the one at either edge, which holds at most four bits of it. Where the value stands alone, the last
 * character and the padding belong to it too.
 */
function base64Forms(raw: Buffer): readonly string[] {
  const aligned = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), raw]).toString("base64");
    return text.slice(Math.ceil((shift * 4) / 3), Math.floor(((shift + raw.length) * 4) / 3));
  });
  const alone = raw.toString("base64");
  return [...aligned, alone, alone.replace(/=+$/, "")];
}
