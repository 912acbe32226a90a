import { type ConnectionOptions, nkeyAuthenticator } from "@nats-io/transport-node";
import { readSeed } from "./credential_files.ts";

/** Files in PEM that an encrypted connection needs. Any of them makes encryption a must. */
export interface TlsFiles {
  /** Certificates of the authorities that the server's certificate may come from. Default: the system's. */
  ca?: string | undefined;
  /** Certificate and key of the client, for servers that ask for them. */
  cert?: string | undefined;
  key?: string | undefined;
}

/** Where the servers are, and as whom they are talked to. */
export interface Access {
  /** Comma-separated URLs, without user or password. */
  servers: string;
  /** File that holds the seed of an nkey. Default: none, for servers that let anybody in. */
  nkeyFile?: string | undefined;
  tls?: TlsFiles | undefined;
}

/**
 * The part of a connection's options that says where to and as whom. The seed is read anew for each connection, so that
 * it can be replaced while a service runs.
 *
 * @throws {RangeError} If a URL holds a user or password, which the client would not use and a log might show.
 * @throws {Error} If the file holds no seed.
 */
export function accessOptions({ servers, nkeyFile, tls }: Access): ConnectionOptions {
  if (servers.includes("@")) {
    throw new RangeError("a server's URL takes no user or password: a credential is a file");
  }
  const options: ConnectionOptions = { servers: servers.split(",").map((server) => server.trim()) };
  if (nkeyFile !== undefined) {
    // Now, so that a file that is missing is told at start and not as a refusal of the server.
    readSeed(nkeyFile);
    options.authenticator = nkeyAuthenticator(() => readSeed(nkeyFile));
  }
  if (tls?.ca !== undefined || tls?.cert !== undefined || tls?.key !== undefined) {
    options.tls = {
      ...(tls.ca !== undefined && { caFile: tls.ca }),
      ...(tls.cert !== undefined && { certFile: tls.cert }),
      ...(tls.key !== undefined && { keyFile: tls.key }),
    };
  }
  return options;
}
