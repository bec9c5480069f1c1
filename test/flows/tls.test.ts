import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentName } from "../../src/core/brand.ts";
import { SetupError } from "../../src/core/setup-error.ts";
import { createTls } from "../../src/http/tls.ts";
import type { Issued } from "./certificates.ts";
import { canMakeCertificates, createAuthority, issue, openssl, thumbprintOf } from "./certificates.ts";
import { startHttpHouse, toolCall } from "./http-house.ts";
import type { HttpHouse } from "./http-house.ts";

const possible = canMakeCertificates();
const every = 50;
const folder = mkdtempSync(join(tmpdir(), "leasehold-tls-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Certificates {
  readonly ca: Issued;
  readonly otherCa: Issued;
  readonly server: Issued;
  readonly renewed: Issued;
  readonly client: Issued;
  readonly stranger: Issued;
  readonly forged: Issued;
  /** What the server reads: copies of the above. */
  readonly live: Issued & { readonly clientCa: string };
}

function makeAll(): Certificates {
  const ca = createAuthority(folder, "ca");
  const otherCa = createAuthority(folder, "other-ca");
  const live = { certificate: join(folder, "live.crt"), key: join(folder, "live.key"), clientCa: join(folder, "live-ca.crt") };
  return {
    ca,
    otherCa,
    server: issue(folder, ca, "server", "server"),
    renewed: issue(folder, ca, "renewed", "server"),
    client: issue(folder, ca, "client", "client"),
    stranger: issue(folder, ca, "stranger", "client"),
    forged: issue(folder, otherCa, "forged", "client"),
    live,
  };
}

function install({ certificate, key }: Issued, { live }: Certificates): void {
  copyFileSync(certificate, live.certificate);
  writeFileSync(live.key, readFileSync(key), { mode: 0o600 });
}

describe.skipIf(!possible)("TLS built in", () => {
  let all: Certificates;
  let http: HttpHouse;
  beforeAll(async () => {
    all = makeAll();
    install(all.server, all);
    copyFileSync(all.ca.certificate, all.live.clientCa);
    const thumbprints = [all.client, all.forged].map((one) => [thumbprintOf(one), "bot" as AgentName] as const);
    http = await startHttpHouse({ tls: all.live, parts: { lookEvery: every, certificates: new Map(thumbprints) } });
  });
  afterAll(() => http.server.close(100));

  interface Ask {
    readonly client?: Issued;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: unknown;
    readonly path?: string;
    readonly agent?: Agent;
  }

  /** One request, on a connection of its own unless there is an agent. */
  function ask({ client, headers = {}, body, path = "/mcp", agent }: Ask = {}) {
    const { authorization: _token, ...plain } = http.headers();
    const certificate = client ? { cert: readFileSync(client.certificate), key: readFileSync(client.key) } : {};
    const { promise, resolve, reject } = Promise.withResolvers<{
      status: number;
      headers: Readonly<Record<string, string | readonly string[] | undefined>>;
      text: string;
      peer: string;
    }>();
    const sent = request(
      http.url + path,
      {
        ca: readFileSync(all.ca.certificate),
        method: body === undefined ? "GET" : "POST",
        headers: { ...plain, ...headers },
        agent: agent ?? false,
        ...certificate,
      },
      (response) => {
        let text = "";
        const { socket } = response;
        const peer = "getPeerCertificate" in socket ? String((socket as ReturnType<typeof connect>).getPeerCertificate().subject.CN) : "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text, peer }));
      },
    );
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
    return promise;
  }

  const whoami = { body: toolCall("whoami") };

  it("serves over https, says so to browsers, and speaks nothing older than TLS 1.2", async () => {
    expect(http.url).toMatch(/^https:/);
    const answer = await ask({ ...whoami, headers: { authorization: http.headers().authorization } });
    expect(answer.status).toBe(200);
    expect(answer.headers["strict-transport-security"]).toBe("max-age=31536000");
    await expect(fetch(http.url.replace("https:", "http:"))).rejects.toThrow("fetch failed");
    const versions = ["TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;
    const spoken = versions.map(
      (version) =>
        new Promise<string>((resolve) => {
          const options = { minVersion: version, maxVersion: version, ciphers: "DEFAULT:@SECLEVEL=0", rejectUnauthorized: false };
          const socket = connect({ port: http.port, host: "127.0.0.1", ...options }, () => {
            resolve(socket.getProtocol() ?? "");
            socket.destroy();
          });
          socket.on("error", () => resolve("refused"));
        }),
    );
    expect(await Promise.all(spoken)).toEqual(["refused", "TLSv1.2", "TLSv1.3"]);
  });

  it("RFC 8705: a configured client certificate is an identity by itself", async () => {
    const answer = await ask({ ...whoami, client: all.client });
    expect(JSON.parse(answer.text)).toMatchObject({
      result: {
        structuredContent: {
          agent: "bot",
          kind: "workload",
          authenticated_by: "certificate",
          sender_constrained: true,
          session: `certificate:${thumbprintOf(all.client)}`,
        },
      },
    });
  });

  it.each<[string, () => Issued | undefined]>([
    ["no certificate", () => undefined],
    ["one that is not configured", () => all.stranger],
    ["a configured one that no accepted authority signed", () => all.forged],
  ])("%s is nobody", async (_what, client) => {
    const one = client();
    const answer = await ask({ ...whoami, ...(one ? { client: one } : {}) });
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toMatch(/^Bearer resource_metadata=/);
  });

  it("a certificate does not make up for a bad token", async () => {
    expect((await ask({ ...whoami, client: all.client, headers: { authorization: "Bearer x.y.z" } })).status).toBe(401);
  });

  it("RFC 8705 section 3: a token that is bound to a certificate is good over that one only", async () => {
    const { token } = http.token("bot", { bound: { "x5t#S256": thumbprintOf(all.stranger) } });
    const headers = { authorization: `Bearer ${token}` };
    expect((await ask({ ...whoami, client: all.stranger, headers })).status).toBe(200);
    for (const more of [{ client: all.client }, { client: all.forged }, {}]) {
      const answer = await ask({ ...whoami, ...more, headers });
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toContain('error="invalid_token"');
    }
    const metadata = await ask({ path: "/.well-known/oauth-protected-resource" });
    expect(JSON.parse(metadata.text)).toMatchObject({ tls_client_certificate_bound_access_tokens: true });
  });

  it("takes up a renewed certificate, and stays with the one before when the new one is broken", async () => {
    const peer = async () => (await ask({ path: "/healthz" })).peer;
    expect(await peer()).toBe("server");
    install(all.renewed, all);
    await expect.poll(peer).toBe("renewed");

    http.logged.length = 0;
    writeFileSync(all.live.certificate, "-----BEGIN CERTIFICATE-----\nrubbish\n");
    await pause(every * 6);
    expect(await peer()).toBe("renewed");
    expect(http.logged).toHaveLength(1);
    copyFileSync(all.server.certificate, all.live.certificate);
    await pause(every * 4);
    expect(await peer()).toBe("renewed");
    expect(String((http.logged.at(-1) as { err: Error }).err)).toContain("is not the key of the certificate");
    expect(JSON.stringify(http.logged)).not.toContain("PRIVATE KEY");
    install(all.server, all);
    await expect.poll(peer).toBe("server");
  });

  it("waits until a certificate and its key have both arrived", async () => {
    http.logged.length = 0;
    for (let i = 0; i < 10; i++) {
      copyFileSync(all.renewed.certificate, all.live.certificate);
      await pause(every / 2);
    }
    install(all.renewed, all);
    await expect.poll(async () => (await ask({ path: "/healthz" })).peer).toBe("renewed");
    expect(http.logged).toEqual([]);
    install(all.server, all);
    await expect.poll(async () => (await ask({ path: "/healthz" })).peer).toBe("server");
  });

  it("believes no certificate from before the authorities changed, on an open connection neither", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect((await ask({ ...whoami, client: all.client, agent })).status).toBe(200);
    copyFileSync(all.otherCa.certificate, all.live.clientCa);
    await expect.poll(async () => (await ask({ ...whoami, client: all.client, agent })).status).toBe(401);
    expect((await ask({ ...whoami, client: all.client })).status).toBe(401);
    expect((await ask({ ...whoami, client: all.forged })).status).toBe(200);
    agent.destroy();
    copyFileSync(all.ca.certificate, all.live.clientCa);
    await expect.poll(async () => (await ask({ ...whoami, client: all.client })).status).toBe(200);
  });
});

describe.skipIf(!possible)("TLS files that cannot be used", () => {
  const day = 86_400_000;
  const logger = { error: () => undefined };
  let all: Certificates;
  beforeAll(() => {
    all = makeAll();
  });

  function problem(files: Partial<Certificates["live"]>, time = Date.now()): string {
    try {
      createTls({ files: { ...all.server, ...files }, now: () => time, logger });
      return "none";
    } catch (thrown) {
      if (!(thrown instanceof SetupError)) throw thrown;
      expect(thrown.message).not.toContain("PRIVATE KEY");
      return thrown.message;
    }
  }

  it("are named, each with one sentence on what to do", () => {
    expect(problem({})).toBe("none");
    expect(problem({ clientCa: all.ca.certificate })).toBe("none");
    expect(problem({ certificate: join(folder, "nowhere.crt") })).toBe(
      `${join(folder, "nowhere.crt")}: does not exist. Correct server.tls.`,
    );
    expect(problem({ key: join(folder, "nowhere.key") })).toContain("nowhere.key: does not exist");
    expect(problem({ certificate: folder })).toContain("cannot be read");
    expect(problem({ certificate: all.server.key })).toContain("is no certificate in PEM");
    expect(problem({ clientCa: all.server.key })).toContain("is no certificate in PEM");
    expect(problem({ key: all.renewed.key })).toContain(`is not the key of the certificate in ${all.server.certificate}`);
    expect(problem({}, Date.now() + 2 * day)).toContain("expired on");
    expect(problem({}, Date.now() - day)).toContain("is not valid before");
  });

  it("are refused when others may read the key, or when it needs a passphrase", () => {
    const open = join(folder, "open.key");
    copyFileSync(all.server.key, open);
    for (const mode of [0o644, 0o640, 0o604]) {
      chmodSync(open, mode);
      expect(problem({ key: open })).toContain(`others than its owner have access to it (mode 0${mode.toString(8)})`);
    }
    const locked = join(folder, "locked.key");
    openssl("ec", "-in", all.server.key, "-aes256", "-passout", "pass:x", "-out", locked);
    chmodSync(locked, 0o600);
    expect(problem({ key: locked })).toContain("is no private key in PEM");
  });
});
