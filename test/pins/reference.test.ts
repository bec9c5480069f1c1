import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { referencePages } from "../../docs/pages.ts";

test("the reference pages say what the code does: `npm run docs` after a change", () => {
  const pages = referencePages();
  const onDisk = Object.keys(pages).map((name) => [name, readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), "utf8")]);
  expect(Object.fromEntries(onDisk)).toEqual(pages);
});
