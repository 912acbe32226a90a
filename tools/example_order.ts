/** An order of the sandbox that ends in `completed`: what `npm start` prints, and what tests send unless they say otherwise. */
export const exampleOrder = {
  customer: { id: "cus_1", email: "ada@example.com", plan: "standard" },
  lines: [{ sku: "mug", quantity: 1 }],
  shipping_address: {
    name: "Ada",
    line1: "12 High Street",
    city: "York",
    postal_code: "YO1 7HH",
    country: "GB",
  },
  shipping_priority: "standard",
  payment_token: "tok_visa",
};
