import "reflect-metadata";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Files in PEM. */
export interface Certificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** Its own certificate, in PEM. */
  readonly ca: string;
  /** Makes a certificate and key for a server on loopback or a client; the files are in a folder of that name. */
  issue(name: string): Promise<Certificate>;
}

/** A certificate authority of a test's own, which nobody else trusts. Its files are in `folder`. */
export async function makeAuthority(folder: string): Promise<Authority> {
  const times = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Test authority",
    keys,
    signingAlgorithm: algorithm,
    ...times,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  await mkdir(folder, { recursive: true });
  const ca = join(folder, "ca.pem");
  await writeFile(ca, root.toString("pem"));
  return {
    ca,
    async issue(name) {
      const own = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
      const certificate = await x509.X509CertificateGenerator.create({
        subject: `CN=${name}`,
        issuer: root.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        ...times,
        extensions: [
          new x509.SubjectAlternativeNameExtension([
            { type: "ip", value: "127.0.0.1" },
            { type: "dns", value: "localhost" },
          ]),
          new x509.ExtendedKeyUsageExtension([
            x509.ExtendedKeyUsage.serverAuth,
            x509.ExtendedKeyUsage.clientAuth,
          ]),
        ],
      });
      await mkdir(join(folder, name), { recursive: true });
      const files = { ca, cert: join(folder, name, "cert.pem"), key: join(folder, name, "key.pem") };
      await writeFile(files.cert, certificate.toString("pem"));
      const key = await crypto.subtle.exportKey("pkcs8", own.privateKey);
      await writeFile(files.key, x509.PemConverter.encode(key, "PRIVATE KEY"), { mode: 0o600 });
      return files;
    },
  };
}
