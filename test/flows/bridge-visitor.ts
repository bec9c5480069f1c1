/** A browser without a screen: follows redirects, keeps cookies, and presses the button of the one form on a page. */
export async function visit(
  start: string,
  fill: Readonly<Record<string, string>> = {},
): Promise<{ readonly url: string; readonly text: string }> {
  const jar = new Map<string, string>();
  let url = start;
  let form: URLSearchParams | undefined;
  for (let hops = 0; hops < 20; hops += 1) {
    const response = await fetch(url, {
      redirect: "manual",
      headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; ") },
      ...(form ? { method: "POST", body: form } : {}),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = ""] = cookie.split(";");
      jar.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
    }
    const location = response.headers.get("location");
    const text = await response.text();
    if (location !== null) {
      url = new URL(location, url).href;
      form = undefined;
      continue;
    }
    const action = /<form[^>]*action="([^"]+)"/.exec(text)?.[1];
    if (action === undefined) return { url, text };
    form = new URLSearchParams(fill);
    for (const [, name = "", value = ""] of text.matchAll(/<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"/g))
      form.set(name, value);
    url = new URL(action.replaceAll("&amp;", "&"), url).href;
  }
  throw new Error("too many pages");
}
