import { generateKeyPairSync, sign } from "node:crypto";

/** A self-signed certificate for these names, and its key, in PEM. Made anew for every run: nothing to expire, nothing to leak. */
export function certificateFor(names: readonly string[]): { readonly cert: string; readonly key: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(0x30, oid("2a8648ce3d040302"));
  const name = der(0x30, der(0x31, der(0x30, oid("550403"), der(0x0c, Buffer.from(names[0] ?? "test")))));
  const validity = der(0x30, time(Date.now() - 86_400_000), time(Date.now() + 86_400_000));
  const alternatives = der(0x30, ...names.map((one) => der(0x82, Buffer.from(one))));
  const extensions = der(0xa3, der(0x30, der(0x30, oid("551d11"), der(0x04, alternatives))));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const body = der(0x30, der(0xa0, der(0x02, Buffer.of(2))), der(0x02, Buffer.of(1)), algorithm, name, validity, name, spki, extensions);
  const signature = der(0x03, Buffer.of(0), sign("sha256", body, privateKey));
  const pem = der(0x30, body, algorithm, signature).toString("base64").replace(/.{64}/g, "$&\n");
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${pem}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** ASN.1 in DER: tag, length, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function time(at: number): Buffer {
  return der(0x17, Buffer.from(`${new Date(at).toISOString().replace(/[-:T]/g, "").slice(2, 14)}Z`));
}
