// What a message is and which ones there are. Free of the client library, so that pure code can import it.
export * from "./contract.ts";
export * from "./shop.ts";
