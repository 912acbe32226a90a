// For the tests of this folder.
import { create, type MessageShape } from "@bufbuild/protobuf";
import { OrderSchema } from "../../gen/shop/order/v1/order_pb.ts";
import { listenSmtp } from "./listen_smtp.ts";
import type { Letter } from "./mailer.ts";

export type Order = MessageShape<typeof OrderSchema>;

export function anOrder(
  orderId = "o1",
  change: { email?: string; name?: string; plan?: string } = {},
): Order {
  const { email = "ada@example.com", name = "Ada", plan = "standard" } = change;
  return create(OrderSchema, {
    orderId,
    customer: { id: "cus_1", email, plan },
    lines: [
      { sku: "mug", quantity: 2, unitPriceCents: 1_200n },
      { sku: "desk", quantity: 1, unitPriceCents: 24_900n },
    ],
    shippingAddress: { name, line1: "12 High Street", city: "York", postalCode: "YO1 7HH", country: "GB" },
    totalCents: 27_300n,
    currency: "EUR",
  });
}

export function aLetter(change: Partial<Letter> = {}): Letter {
  return {
    orderId: "o1",
    kind: "order_received",
    to: "ada@example.com",
    messageId: "<o1.order_received@jetstream-checkout>",
    date: new Date("2026-01-01T00:00:00Z"),
    subject: "We have your order o1",
    text: "Hello Ada,\n\n2 × mug: €24.00\n",
    ...change,
  };
}

export interface ParsedMail {
  /** By lower-case name. */
  headers: Map<string, string>;
  text: string;
}

/** Reads a plain text mail (RFC 5322, RFC 2045). @throws {Error} If it is none, or if a header comes twice. */
export function parseMail(source: string): ParsedMail {
  const end = source.indexOf("\r\n\r\n");
  if (end < 0) throw new Error("Cannot read a mail: its head does not end");
  const headers = new Map<string, string>();
  for (const line of source
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n")) {
    const [, name, value] = /^([!-9;-~]+): (.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) throw new Error(`Cannot read a header: ${line}`);
    if (headers.has(name.toLowerCase())) throw new Error(`Cannot read a mail: two of ${name}`);
    headers.set(name.toLowerCase(), value);
  }
  const body = source.slice(end + 4);
  return {
    headers,
    text: decodeBody(body, headers.get("content-transfer-encoding")).replaceAll("\r\n", "\n"),
  };
}

function decodeBody(body: string, encoding: string | undefined): string {
  if (encoding === "base64") return Buffer.from(body, "base64").toString();
  if (encoding !== "quoted-printable") return body;
  const bytes = body
    .replace(/=\r\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}

/** Where an SMTP session has got to, and the answer that ends it there: `550 No such user`. */
export interface Refusal {
  at: "connect" | "mail" | "rcpt" | "data";
  code: number;
  text: string;
}

/** A real SMTP server that keeps what it accepts. */
export interface Smtp extends AsyncDisposable {
  readonly url: string;
  /** Mails accepted, in order. `utf8`: by SMTPUTF8. */
  readonly mails: (ParsedMail & { to: string[]; utf8: boolean })[];
  /** The most connections that were open at once. */
  readonly mostConnections: number;
  /** What it refuses. Settable at any time. */
  refuse: Refusal | undefined;
}

/** @param options.utf8 Whether it has SMTPUTF8. Default: true. */
export async function startSmtp(port = 0, { utf8 = true }: { utf8?: boolean } = {}): Promise<Smtp> {
  let connections = 0;
  const errorAt = (at: Refusal["at"]) => {
    const { refuse } = smtp;
    return refuse?.at === at
      ? Object.assign(new Error(refuse.text), { responseCode: refuse.code })
      : undefined;
  };
  const server = await listenSmtp({
    port,
    hideSMTPUTF8: !utf8,
    onConnect: (_, done) => {
      connections += 1;
      smtp.mostConnections = Math.max(smtp.mostConnections, connections);
      done(errorAt("connect"));
    },
    onClose: () => {
      connections -= 1;
    },
    onMailFrom: (_, __, done) => done(errorAt("mail")),
    onRcptTo: (_, __, done) => done(errorAt("rcpt")),
    onMail(source, { envelope }) {
      const refused = errorAt("data");
      if (refused !== undefined) return refused;
      const { rcptTo, smtpUtf8 = false } = envelope;
      smtp.mails.push({ ...parseMail(source), to: rcptTo.map(({ address }) => address), utf8: smtpUtf8 });
      return undefined;
    },
  });
  const smtp = {
    ...server,
    mails: [] as (ParsedMail & { to: string[]; utf8: boolean })[],
    mostConnections: 0,
    refuse: undefined as Refusal | undefined,
  };
  return smtp;
}
