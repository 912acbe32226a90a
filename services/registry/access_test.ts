import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startNats } from "../../test/support/mod.ts";
import { protoOf, startRegistry, type TestRegistry } from "./test_support.ts";

const stack = new AsyncDisposableStack();
let registry: TestRegistry;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  registry = stack.use(await startRegistry(nats, { registryToken: "registrant" }));
});
afterAll(() => stack.disposeAsync());

const schema = { schema: protoOf("int32 a = 1;") };
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` });
type Asked = [method: string, path: string, body?: object];

const reading: Asked[] = [
  ["GET", "/subjects"],
  ["GET", "/config"],
];
const registering: Asked[] = [
  ["POST", "/subjects/a/versions", schema],
  ["POST", "/subjects/a%2Fb/versions", schema],
  // The same path, written so that it looks like another.
  ["POST", "/subjects/a/version%73", schema],
  // What takes the compiler is not for everybody.
  ["POST", "/subjects/a", schema],
  ["POST", "/compatibility/subjects/a/versions/latest", schema],
];
const operating: Asked[] = [
  ["PUT", "/config", { compatibility: "NONE" }],
  ["PUT", "/config/a", { compatibility: "BACKWARD" }],
  ["PUT", "/mode/a", { mode: "READONLY" }],
  ["DELETE", "/mode/a"],
  ["DELETE", "/config/a"],
  ["DELETE", "/config"],
  ["DELETE", "/subjects/a/versions/1"],
  ["DELETE", "/subjects/a"],
];

async function statusesOf(asked: readonly Asked[], headers: Record<string, string>): Promise<Set<unknown>> {
  const statuses = new Set<unknown>();
  for (const [method, path, body] of asked) {
    const { status, body: answer } = await registry.ask(method, path, body, { headers });
    statuses.add(status < 400 ? status : answer.error_code);
  }
  return statuses;
}

describe("a registry with tokens", () => {
  it("lets nobody without one register, and stores nothing", async () => {
    const before = await registry.lastSequence();
    const none = [
      "x",
      "",
      "Bearer",
      "Bearer ",
      "Bearer x",
      "Digest registrant",
      "registrant",
      "Bearer registrant2",
    ];
    const headers = [
      {},
      basic("registrant:x"),
      basic(":"),
      ...none.map((authorization) => ({ authorization })),
    ];
    for (const sent of headers) {
      expect(await statusesOf([...registering, ...operating], sent)).toEqual(new Set([40101]));
    }
    const refused = await registry.app.request("/config", { method: "DELETE" });
    expect(refused.headers.get("www-authenticate")).toBe("Bearer");
    expect(await registry.lastSequence()).toBe(before);
  });

  it("lets its registrants register, and no more", async () => {
    for (const headers of [
      bearer("registrant"),
      basic("anyone:registrant"),
      { authorization: "bearer registrant" },
    ]) {
      expect(await statusesOf(registering, headers)).toEqual(new Set([200]));
      const before = await registry.lastSequence();
      expect(await statusesOf(operating, headers)).toEqual(new Set([40301]));
      expect(await registry.lastSequence()).toBe(before);
    }
  });

  it("lets everybody read", async () => {
    for (const headers of [{}, bearer("registrant"), bearer("x")]) {
      expect(await statusesOf(reading, headers)).toEqual(new Set([200]));
    }
  });

  it("lets the operator do all of it", async () => {
    const undeleted = operating.slice(0, 4);
    for (const headers of [bearer("operator"), basic("me:operator")]) {
      expect(await statusesOf([...registering, ...undeleted, ...reading], headers)).toEqual(new Set([200]));
    }
  });
});
