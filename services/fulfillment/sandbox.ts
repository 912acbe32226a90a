/** What cannot be packed, by sku, and why. The way to see a paid order being refunded. */
export const unpackable: Readonly<Record<string, string>> = {
  broken: "it fell off the shelf",
};
