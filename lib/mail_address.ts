import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";

/** RFC 5321, in octets. An address has 254, since its path is in angle brackets of 256. */
const MAX_LOCAL_PART = 64;
const MAX_ADDRESS = 254;
/** RFC 1035. */
const MAX_DOMAIN = 253;

/**
 * A dot-atom (RFC 5322), with what RFC 6531 adds to it: all beyond ASCII but spaces, and what is invisible, unassigned or
 * private. Two joiners are letters of some scripts. No quoted local part: hardly anybody has one, and much software breaks at it.
 */
const ATOM = String.raw`(?:[\w!#$%&'*+/=?^\x60{|}~-]|(?![\p{ASCII}\p{C}\p{Z}])[^]|\u200c|\u200d)+`;
const LOCAL_PART = new RegExp(`^${ATOM}(?:\\.${ATOM})*$`, "u");
/** Letters as they are typed. What cannot be in a host's name is refused here: `domainToASCII()` drops or decodes some of it. */
const TYPED_DOMAIN = /^(?:[\p{L}\p{M}\p{N}.-]|\u200c|\u200d)+$/u;
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
/** Two labels at least. The last one is no number: that would be an IPv4 address. */
const HOST = new RegExp(`^(?:${LABEL}\\.)+(?!\\d+$)${LABEL}$`);
const LITERAL = /^\[(?:(?<v4>[\d.]+)|IPv6:(?<v6>[\da-f:.]+))\]$/i;

/**
 * Whether a text is one mail address, and nothing that would be more in a header or an SMTP command: no name, no second address,
 * no line break. Domains may be internationalized (RFC 5890) or address literals (`[192.0.2.1]`, `[IPv6:2001:db8::1]`), local
 * parts beyond ASCII (RFC 6531).
 *
 * @example
 * ```ts
 * isMailAddress("ada@bücher.example"); // true
 * isMailAddress("Ada <ada@example.com>"); // false
 * ```
 */
export function isMailAddress(text: string): boolean {
  if (Buffer.byteLength(text) > MAX_ADDRESS) return false;
  const at = text.indexOf("@");
  const localPart = text.slice(0, at);
  if (at < 1 || Buffer.byteLength(localPart) > MAX_LOCAL_PART || !LOCAL_PART.test(localPart)) return false;
  const domain = text.slice(at + 1);
  return domain.startsWith("[") ? isLiteral(domain) : isHost(domain, MAX_ADDRESS - at - 1);
}

/** The domain of an address as DNS has it: lower case, in ASCII. Empty if it is an address literal or none at all. */
export function mailDomain(address: string): string {
  return domainToASCII(address.slice(address.lastIndexOf("@") + 1).trim());
}

function isLiteral(domain: string): boolean {
  const { v4 = "", v6 = "" } = LITERAL.exec(domain)?.groups ?? {};
  return isIPv4(v4) || isIPv6(v6);
}

/** @param most Octets that are left for the domain in ASCII, where the local part is that. */
function isHost(domain: string, most: number): boolean {
  if (!TYPED_DOMAIN.test(domain)) return false;
  const ascii = domainToASCII(domain);
  return ascii.length <= Math.min(MAX_DOMAIN, most) && HOST.test(ascii);
}
