import { expect, test } from "vitest";
import { isWriteTo, splitFrames } from "./cascade_slow.ts";

const write = "HPUB inventory.item.mug _INBOX.1 12 17\r\nNATS/1.0\r\n\r\nh\r\nlo\r\n";
const ack = "PUB $JS.ACK.CHECKOUT.inventory.1 4\r\n+ACK\r\n";

test("splitFrames() takes what was sent apart at its frames, whatever the payloads hold", () => {
  const bytes = Buffer.from(`PING\r\n${write}${ack}HPUB inventory.item`);
  const { frames, left } = splitFrames(bytes);
  expect(frames.map(String)).toEqual(["PING\r\n", write, ack]);
  expect(String(left)).toBe("HPUB inventory.item");
});

test("splitFrames() leaves a message whose payload is not all there", () => {
  const { frames, left } = splitFrames(Buffer.from(ack.slice(0, -3)));
  expect(frames).toEqual([]);
  expect(String(left)).toBe(ack.slice(0, -3));
});

test("isWriteTo() tells what is written to a ledger from all else", () => {
  expect(isWriteTo("inventory", Buffer.from(write))).toBe(true);
  const others = [ack, "PING\r\n", "PUB inventory2.x 0\r\n\r\n", "SUB inventory.item.mug 1\r\n"];
  for (const frame of others) expect(isWriteTo("inventory", Buffer.from(frame))).toBe(false);
});
