import { spawn } from "node:child_process";
import { isSecure } from "./address.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** What a program beside us needs to find the person's desktop. Nothing else of our environment is passed on. */
const passed = [
  "PATH",
  "HOME",
  "USER",
  "LANG",
  "DISPLAY",
  "WAYLAND_DISPLAY",
  "XAUTHORITY",
  "XDG_RUNTIME_DIR",
  "XDG_CURRENT_DESKTOP",
  "XDG_CONFIG_HOME",
  "XDG_DATA_DIRS",
  "DBUS_SESSION_BUS_ADDRESS",
  "BROWSER",
  "SystemRoot",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
];

export function desktopEnv(env: Env): Record<string, string> {
  return Object.fromEntries(passed.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

/** The program that opens a URL, and its arguments: each is one argument, and no shell ever sees it. */
export function opener(platform: NodeJS.Platform, url: URL): readonly [string, readonly string[]] {
  if (!isSecure(url)) throw new TypeError("only https is opened, or this machine");
  if (platform === "darwin") return ["open", [url.href]];
  if (platform === "win32") return ["rundll32", ["url.dll,FileProtocolHandler", url.href]];
  return ["xdg-open", [url.href]];
}

/** Tries to; whoever has no desktop opens the URL elsewhere. */
export function openBrowser(url: URL, parts: { readonly platform: NodeJS.Platform; readonly env: Env }): void {
  const [command, args] = opener(parts.platform, url);
  const child = spawn(command, args, { env: desktopEnv(parts.env), shell: false, stdio: "ignore", detached: true });
  child.once("error", () => undefined);
  child.unref();
}
