import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKeychain } from "../../src/bridge/keychain.ts";
import { locked } from "../../src/bridge/lock.ts";
import type { Login } from "../../src/bridge/login.ts";
import { createLoginFile } from "../../src/bridge/login-file.ts";
import { createLogins } from "../../src/bridge/logins.ts";

const { signal } = new AbortController();
const login: Login = { issuer: "https://b.example", resource: "https://b.example/mcp", clientId: "c", refreshToken: "r" };
const name = login.resource;
let home = "";
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), "leasehold-logins-"))));
afterEach(() => rmSync(home, { recursive: true, force: true }));

describe("the file of logins", () => {
  const place = () => createLoginFile({ file: join(home, "leasehold", "logins.json"), signal });

  it("is for its owner alone, and leaves nothing beside it", async () => {
    await place().write(name, login);
    await place().write("https://other.example/mcp", login);
    expect(await place().read(name)).toEqual(login);
    const folder = join(home, "leasehold");
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, "logins.json")).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).sort()).toEqual([".logins.lock", "logins.json"]);
    await place().remove(name);
    expect(await place().read(name)).toBeUndefined();
    expect(await place().read("https://other.example/mcp")).toEqual(login);
  });

  it("loses nothing when several write at once", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `https://b.example/${index}/mcp`);
    await Promise.all(names.map((one) => place().write(one, { ...login, clientId: one })));
    for (const one of names) expect((await place().read(one))?.clientId).toBe(one);
  });

  it("is refused when others can read it, when it is a link, and when it is something else", async () => {
    await place().write(name, login);
    const file = join(home, "leasehold", "logins.json");
    chmodSync(file, 0o640);
    await expect(place().read(name)).rejects.toThrow(/others can read it.*chmod 600/);
    await expect(place().write(name, login)).rejects.toThrow(/others can read it/);
    chmodSync(file, 0o600);
    writeFileSync(file, "{");
    await expect(place().read(name)).rejects.toThrow(/is not a file of logins. Remove it/);
    rmSync(file);
    writeFileSync(join(home, "elsewhere"), "{}", { mode: 0o600 });
    symlinkSync(join(home, "elsewhere"), file);
    await expect(place().read(name)).rejects.toThrow(/cannot be read/);
  });

  it("is not put where others can write", async () => {
    mkdirSync(join(home, "leasehold"));
    chmodSync(join(home, "leasehold"), 0o777);
    await expect(place().write(name, login)).rejects.toThrow(/others can write to this folder/);
  });

  it("gives out no entry that is not a login", async () => {
    await place().write(name, login);
    writeFileSync(join(home, "leasehold", "logins.json"), JSON.stringify({ logins: { [name]: { clientId: 7 }, a: null } }));
    expect(await place().read(name)).toBeUndefined();
    expect(await place().read("a")).toBeUndefined();
    expect(await place().read("__proto__")).toBeUndefined();
  });
});

describe("the lock", () => {
  it("lets one in at a time, and the next when that one fails", async () => {
    const file = join(home, "lock");
    let inside = 0;
    let most = 0;
    const work = (fails: boolean) => async () => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setTimeout(resolve, 5));
      inside -= 1;
      if (fails) throw new Error("failed");
    };
    const done = await Promise.allSettled([true, false, true, false].map((fails) => locked(file, signal, work(fails))));
    expect(most).toBe(1);
    expect(done.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled"]);
  });

  it("is not waited for after the signal, and says when there can be none", async () => {
    const file = join(home, "lock");
    const over = new AbortController();
    await locked(file, signal, async () => {
      const waiting = locked(file, over.signal, async () => "never");
      over.abort();
      await expect(waiting).rejects.toThrow(/abort/i);
    });
    await expect(locked(join(home, "nowhere", "lock"), signal, async () => 1)).rejects.toThrow(/cannot be locked/);
  });
});

describe("keychains", () => {
  function tool(script: string, command: string): void {
    writeFileSync(join(home, command), `#!/bin/sh\necho "$@" >> '${home}/args'\n${script}\n`);
    chmodSync(join(home, command), 0o755);
  }
  const env = () => ({
    PATH: `${home}:/usr/bin:/bin`,
    HOME: home,
    XDG_CONFIG_HOME: home,
    DBUS_SESSION_BUS_ADDRESS: "unix:path=/x",
    SECRET_OF_OURS: "x",
  });
  const args = (): string => readFileSync(join(home, "args"), "utf8");

  it("macOS: the login goes through stdin of `security -i`, one line and quoted", async () => {
    tool(
      `case "$1" in
  -i) cat > '${home}/stdin'; sed 's/.*-w "\\(.*\\)"$/\\1/' '${home}/stdin' > '${home}/kept';;
  find-generic-password) cat '${home}/kept' 2>/dev/null || exit 44;;
  delete-generic-password) rm '${home}/kept';; esac`,
      "security",
    );
    const keychain = createKeychain({ platform: "darwin", env: env(), signal });
    expect(await keychain?.read(name)).toBeUndefined();
    await keychain?.write(name, login);
    expect(await keychain?.read(name)).toEqual(login);
    expect(readFileSync(join(home, "stdin"), "utf8")).toMatch(
      /^add-generic-password -U -s leasehold -a "https:\/\/b\.example\/mcp" -w "[A-Za-z0-9+/=]+"\n$/,
    );
    expect(args()).not.toContain(readFileSync(join(home, "kept"), "utf8").trim());
    await keychain?.remove(name);
    expect(await keychain?.read(name)).toBeUndefined();
  });

  it("a tool that keeps nothing is not believed: the file takes the login, and an old one of the file goes when the keychain works", async () => {
    tool("exit 0", "secret-tool");
    const logins = () => createLogins({ platform: "linux", env: env(), signal });
    const file = join(home, "leasehold", "logins.json");
    expect(await logins().alone(name, (box) => box.write(login))).toBe(file);
    expect(await logins().alone(name, (box) => box.read())).toEqual(login);
    tool(`case "$1" in store) cat > '${home}/kept'; env > '${home}/env';; lookup) cat '${home}/kept';; esac`, "secret-tool");
    expect(await logins().alone(name, (box) => box.write(login))).toBe("the keychain");
    expect(JSON.parse(readFileSync(file, "utf8")).logins).toEqual({});
    expect(await logins().alone(name, (box) => box.read())).toEqual(login);
    expect(readFileSync(join(home, "env"), "utf8")).not.toContain("SECRET_OF_OURS");
  });

  it("there is none without the tool, without a session bus, or by a relative PATH", () => {
    expect(createKeychain({ platform: "linux", env: env(), signal })).toBeUndefined();
    tool("exit 0", "secret-tool");
    expect(createKeychain({ platform: "linux", env: { ...env(), DBUS_SESSION_BUS_ADDRESS: undefined }, signal })).toBeUndefined();
    expect(createKeychain({ platform: "linux", env: { ...env(), PATH: "." }, signal })).toBeUndefined();
    expect(createKeychain({ platform: "win32", env: env(), signal })).toBeUndefined();
    expect(existsSync(join(home, "args"))).toBe(false);
  });
});
