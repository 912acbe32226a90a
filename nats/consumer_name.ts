/** A durable consumer. Its name is its service's. */
export interface ConsumerName {
  readonly stream: string;
  readonly name: string;
}

/** As logs and `ops lag` call it: `CHECKOUT/payment`. */
export function nameOf({ stream, name }: ConsumerName): string {
  return `${stream}/${name}`;
}
