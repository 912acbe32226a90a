import { readFileSync } from "node:fs";
import type { DescMessage } from "@bufbuild/protobuf";
import { Edition } from "@bufbuild/protobuf/wkt";
import type { NatsConnection } from "@nats-io/transport-node";
import { SchemaStore } from "../nats/mod.ts";
import type { CatalogEntry } from "./catalog_entries.ts";
import { printAlone } from "./one_file.ts";

/** Something that is elsewhere in the document. */
interface Ref {
  readonly $ref: string;
}

/** As much of AsyncAPI 3.0 as the catalogue uses. */
export interface AsyncApiDocument {
  readonly asyncapi: "3.0.0";
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly defaultContentType: string;
  readonly servers: Readonly<Record<string, object>>;
  readonly channels: Readonly<Record<string, object>>;
  readonly operations: Readonly<Record<string, { action: "send" | "receive"; channel: Ref }>>;
  readonly components: { readonly messages: Readonly<Record<string, object>> };
}

/**
 * The message that the latest registered schema of each entry has, by subject. An entry without one is not in it.
 * Waits for the servers as long as it takes.
 */
export async function latestMessages(
  connection: NatsConnection,
  entries: readonly CatalogEntry[],
): Promise<Map<string, DescMessage>> {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  await using store = new SchemaStore(connection, { source: "ops", log });
  const found = await Promise.all(
    entries.map(async ({ contract, schema }) => {
      const stored = schema && (await store.schema(schema.id));
      const message = stored?.file.messages.find(({ name }) => name === contract.schema.name);
      return message ? [[contract.subject, message] as const] : [];
    }),
  );
  return new Map(found.flat());
}

/**
 * The catalogue as an AsyncAPI 3.0 document: a channel and a message for each event, and an operation for each service that
 * stores or takes it. What AsyncAPI has no words for is in `x-` fields.
 *
 * @param options.servers Comma-separated URLs.
 * @param options.messages What the events look like, by subject. Default: as in this build.
 */
export function asyncApi(
  entries: readonly CatalogEntry[],
  { servers, messages = new Map() }: { servers: string; messages?: ReadonlyMap<string, DescMessage> },
): AsyncApiDocument {
  const hosts = servers.split(",").map((url) =>
    url
      .trim()
      .replace(/^[a-z]+:\/\//, "")
      .replace(/\/$/, ""),
  );
  return {
    asyncapi: "3.0.0",
    info: {
      title: "Shop",
      version: versionOfProject(),
      description:
        "Every event, command and state that a service of the shop stores, who stores it and who takes it. " +
        "Made from the topology, the schema registry and the servers' consumers.",
    },
    defaultContentType: CONTENT_TYPE,
    servers: Object.fromEntries(
      hosts.map((host, index) => [
        `nats${index + 1}`,
        { host, protocol: "nats", description: "JetStream. Each service has an nkey of its own" },
      ]),
    ),
    channels: Object.fromEntries(entries.map((entry) => [entry.contract.subject, channelOf(entry)])),
    operations: Object.fromEntries(entries.flatMap(operationsOf)),
    components: {
      messages: Object.fromEntries(
        entries.map((entry) => {
          const { subject, schema } = entry.contract;
          return [subject, messageOf(entry, messages.get(subject) ?? schema)];
        }),
      ),
    },
  };
}

const CONTENT_TYPE = "application/protobuf";

function versionOfProject(): string {
  return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
}

function channelOf({ contract, address, parameters, stream, meaning }: CatalogEntry): object {
  return {
    address,
    ...(meaning && { summary: meaning }),
    ...(parameters.length > 0 && {
      parameters: Object.fromEntries(parameters.map((name) => [name, { description: "One token" }])),
    }),
    messages: { [contract.schema.name]: { $ref: `#/components/messages/${contract.subject}` } },
    "x-stream": stream,
  };
}

function operationsOf({ contract, producer, consumers }: CatalogEntry) {
  const { subject, schema } = contract;
  const operation = (action: "send" | "receive", service: string, more: object = {}) =>
    [
      // A server lets a consumer's name have more characters than a key may.
      `${service.replaceAll(/[^\w.-]/g, "_")}.${action}.${subject}`,
      {
        action,
        channel: { $ref: `#/channels/${subject}` },
        messages: [{ $ref: `#/channels/${subject}/messages/${schema.name}` }],
        tags: [{ name: service }],
        ...more,
      },
    ] as const;
  return [
    ...(producer ? [operation("send", producer)] : []),
    ...consumers.map(({ service, declared, missing, lag }) =>
      operation("receive", service, {
        "x-declared": declared,
        "x-missing": missing,
        ...(lag !== undefined && { "x-lag": lag }),
      }),
    ),
  ];
}

function messageOf(entry: CatalogEntry, message: DescMessage): object {
  const { contract, meaning, schema, versionsSeen, views, lastSeen } = entry;
  // The root is marked for the parser of Protobuf schemas, which takes one message of the text and else guesses which.
  const comment = [...(meaning ? [`${entry.address}: ${meaning}`] : []), "@RootNode"];
  return {
    name: contract.schema.typeName,
    title: contract.schema.name,
    ...(meaning && { summary: meaning }),
    contentType: CONTENT_TYPE,
    headers: headersOf(entry),
    payload: {
      schemaFormat: `application/vnd.google.protobuf;version=${message.file.edition === Edition.EDITION_PROTO2 ? 2 : 3}`,
      schema: printAlone(message, { comment }),
    },
    ...(schema && { "x-schema-id": schema.id, "x-schema-version": schema.version }),
    "x-versions-seen": versionsSeen,
    ...(views.length > 0 && { "x-views": views }),
    ...(lastSeen && { "x-last-seen": { sequence: lastSeen.seq, time: lastSeen.time.toISOString() } }),
  };
}

/** CloudEvents 1.0 in binary mode, and W3C trace context. */
function headersOf({ contract, producer }: CatalogEntry): object {
  const text = (description: string) => ({ type: "string", description });
  return {
    type: "object",
    required: [
      "ce-specversion",
      "ce-id",
      "ce-source",
      "ce-type",
      "ce-subject",
      "ce-time",
      "ce-dataschema",
      "content-type",
    ],
    properties: {
      "ce-specversion": { const: "1.0" },
      "ce-id": text("One for each message"),
      "ce-source": text(`Who stored it${producer ? `: ${producer}` : ""}`),
      "ce-type": { const: contract.schema.typeName },
      "ce-subject": text("What the subject has after the event's: the id"),
      "ce-time": { type: "string", format: "date-time" },
      "ce-dataschema": text("The registry's URL of the schema: …/schemas/ids/{id}"),
      "content-type": { const: CONTENT_TYPE },
      "ce-cause": text("The message that it was decided about: STREAM/sequence. None: somebody's request"),
      "ce-deliverycount": text("Which delivery of it that was. None: the first"),
      traceparent: text("W3C trace context"),
      tracestate: text("W3C trace context, of whoever has one"),
    },
  };
}
