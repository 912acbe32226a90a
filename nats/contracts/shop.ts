import { ChargePaymentSchema } from "../../gen/shop/checkout/v1/charge_payment_pb.ts";
import { CheckoutCancelledSchema } from "../../gen/shop/checkout/v1/checkout_cancelled_pb.ts";
import { CheckoutCompletedSchema } from "../../gen/shop/checkout/v1/checkout_completed_pb.ts";
import { CheckoutStateSchema } from "../../gen/shop/checkout/v1/checkout_state_pb.ts";
import { CloseReviewSchema } from "../../gen/shop/checkout/v1/close_review_pb.ts";
import { DeadlinePassedSchema } from "../../gen/shop/checkout/v1/deadline_passed_pb.ts";
import { FulfillOrderSchema } from "../../gen/shop/checkout/v1/fulfill_order_pb.ts";
import { RefundPaymentSchema } from "../../gen/shop/checkout/v1/refund_payment_pb.ts";
import { ReleaseStockSchema } from "../../gen/shop/checkout/v1/release_stock_pb.ts";
import { ReserveStockSchema } from "../../gen/shop/checkout/v1/reserve_stock_pb.ts";
import { ScreenOrderSchema } from "../../gen/shop/checkout/v1/screen_order_pb.ts";
import { OrderClearedSchema } from "../../gen/shop/fraud/v1/order_cleared_pb.ts";
import { OrderFlaggedSchema } from "../../gen/shop/fraud/v1/order_flagged_pb.ts";
import { ReviewApprovedSchema } from "../../gen/shop/fraud/v1/review_approved_pb.ts";
import { ReviewDueSchema } from "../../gen/shop/fraud/v1/review_due_pb.ts";
import { ReviewExpiredSchema } from "../../gen/shop/fraud/v1/review_expired_pb.ts";
import { ReviewRejectedSchema } from "../../gen/shop/fraud/v1/review_rejected_pb.ts";
import { ScreeningSchema } from "../../gen/shop/fraud/v1/screening_pb.ts";
import { FulfillmentFailedSchema } from "../../gen/shop/fulfillment/v1/fulfillment_failed_pb.ts";
import { OrderActivatedSchema } from "../../gen/shop/fulfillment/v1/order_activated_pb.ts";
import { OrderShippedSchema } from "../../gen/shop/fulfillment/v1/order_shipped_pb.ts";
import { ItemSchema } from "../../gen/shop/inventory/v1/item_pb.ts";
import { ItemPricedSchema } from "../../gen/shop/inventory/v1/item_priced_pb.ts";
import { ReservationSchema } from "../../gen/shop/inventory/v1/reservation_pb.ts";
import { StockRejectedSchema } from "../../gen/shop/inventory/v1/stock_rejected_pb.ts";
import { StockReleasedSchema } from "../../gen/shop/inventory/v1/stock_released_pb.ts";
import { StockReservedSchema } from "../../gen/shop/inventory/v1/stock_reserved_pb.ts";
import { MailSchema } from "../../gen/shop/notification/v1/mail_pb.ts";
import { CatalogueItemSchema } from "../../gen/shop/order/v1/catalogue_item_pb.ts";
import { IdempotencyKeySchema } from "../../gen/shop/order/v1/idempotency_key_pb.ts";
import { OrderCancelRequestedSchema } from "../../gen/shop/order/v1/order_cancel_requested_pb.ts";
import { OrderCreatedSchema } from "../../gen/shop/order/v1/order_created_pb.ts";
import { OrderIdSecretSchema } from "../../gen/shop/order/v1/order_id_secret_pb.ts";
import { PaymentCapturedSchema } from "../../gen/shop/payment/v1/payment_captured_pb.ts";
import { PaymentDeclinedSchema } from "../../gen/shop/payment/v1/payment_declined_pb.ts";
import { PaymentSchema } from "../../gen/shop/payment/v1/payment_pb.ts";
import { PaymentRefundedSchema } from "../../gen/shop/payment/v1/payment_refunded_pb.ts";
import { PaymentVoidedSchema } from "../../gen/shop/payment/v1/payment_voided_pb.ts";
import { RefundRefusedSchema } from "../../gen/shop/payment/v1/refund_refused_pb.ts";
import { WaitingDueSchema } from "../../gen/shop/waiting/v1/waiting_due_pb.ts";
import { WaitingSchema } from "../../gen/shop/waiting/v1/waiting_pb.ts";
import { contract } from "./contract.ts";

// The shop's subjects, each with the message it carries. The id after the subject is the order's, except where said.

export const orderCreated = contract("order.created", OrderCreatedSchema);
export const orderCancelRequested = contract("order.cancel_requested", OrderCancelRequestedSchema);
/** State, one for the whole shop. */
export const orderIdSecret = contract("order.id_secret", OrderIdSecretSchema);
/** By the SHA-256 of the key. Only in ledgers of older versions (ADR 10). */
export const idempotencyKey = contract("order.idempotency_key", IdempotencyKeySchema);
/** State, by sku. */
export const catalogueItem = contract("order.catalogue_item", CatalogueItemSchema, { keep: "latest" });

/** State. Every transition is kept: the subject is the order's history. */
export const checkoutState = contract("checkout.state", CheckoutStateSchema);
export const reserveStock = contract("checkout.reserve_stock", ReserveStockSchema);
export const releaseStock = contract("checkout.release_stock", ReleaseStockSchema);
export const screenOrder = contract("checkout.screen_order", ScreenOrderSchema);
export const closeReview = contract("checkout.close_review", CloseReviewSchema);
export const chargePayment = contract("checkout.charge_payment", ChargePaymentSchema);
export const refundPayment = contract("checkout.refund_payment", RefundPaymentSchema);
export const fulfillOrder = contract("checkout.fulfill_order", FulfillOrderSchema);
export const checkoutCompleted = contract("checkout.completed", CheckoutCompletedSchema);
export const checkoutCancelled = contract("checkout.cancelled", CheckoutCancelledSchema);
/** A schedule, there for as long as the checkout is in a state with a deadline. Fires `deadlinePassed`. */
export const checkoutTimer = contract("checkout.timer", DeadlinePassedSchema, { keep: "latest" });
export const deadlinePassed = contract("checkout.deadline_passed", DeadlinePassedSchema, {
  fired: true,
  hint: true,
});

/** State, by sku. */
export const item = contract("inventory.item", ItemSchema, { keep: "latest" });
/** By sku. */
export const itemPriced = contract("inventory.item_priced", ItemPricedSchema, { keep: "latest" });
/** State. */
export const reservation = contract("inventory.reservation", ReservationSchema);
export const stockReserved = contract("inventory.stock_reserved", StockReservedSchema);
export const stockRejected = contract("inventory.stock_rejected", StockRejectedSchema);
export const stockReleased = contract("inventory.stock_released", StockReleasedSchema);

/** State. */
export const payment = contract("payment.payment", PaymentSchema);
export const paymentCaptured = contract("payment.captured", PaymentCapturedSchema);
export const paymentDeclined = contract("payment.declined", PaymentDeclinedSchema);
export const paymentRefunded = contract("payment.refunded", PaymentRefundedSchema);
export const paymentVoided = contract("payment.voided", PaymentVoidedSchema);
export const refundRefused = contract("payment.refund_refused", RefundRefusedSchema);
/** State, by `<order>.<type>`, of what waits for the provider. */
export const paymentWaiting = contract("payment.waiting", WaitingSchema, { keep: "latest" });
/** A schedule, there for as long as it waits. Fires `paymentWaitingDue`. */
export const paymentWaitingTimer = contract("payment.waiting_timer", WaitingDueSchema, { keep: "latest" });
export const paymentWaitingDue = contract("payment.waiting_due", WaitingDueSchema, { fired: true });

/** State of an order that was not cleared at once. */
export const screening = contract("fraud.screening", ScreeningSchema);
/** State of an order that was. */
export const orderCleared = contract("fraud.order_cleared", OrderClearedSchema);
export const orderFlagged = contract("fraud.order_flagged", OrderFlaggedSchema);
export const reviewApproved = contract("fraud.review_approved", ReviewApprovedSchema);
export const reviewRejected = contract("fraud.review_rejected", ReviewRejectedSchema);
export const reviewExpired = contract("fraud.review_expired", ReviewExpiredSchema);
/** A schedule, there for as long as the review is open: the review queue. Fires `reviewDue`. */
export const reviewTimer = contract("fraud.review_timer", ReviewDueSchema, { keep: "latest" });
export const reviewDue = contract("fraud.review_due", ReviewDueSchema, { fired: true, hint: true });

/** State, as are the other two: an order has one of them at most. */
export const orderShipped = contract("fulfillment.shipped", OrderShippedSchema);
export const orderActivated = contract("fulfillment.activated", OrderActivatedSchema);
export const fulfillmentFailed = contract("fulfillment.failed", FulfillmentFailedSchema);

/** State, by `<order>.<kind>`. */
export const mail = contract("notification.mail", MailSchema);
/** State, by `<order>.<type>`, of what waits for the mail server. */
export const mailWaiting = contract("notification.waiting", WaitingSchema, { keep: "latest" });
/** A schedule, there for as long as it waits. Fires `mailWaitingDue`. */
export const mailWaitingTimer = contract("notification.waiting_timer", WaitingDueSchema, { keep: "latest" });
export const mailWaitingDue = contract("notification.waiting_due", WaitingDueSchema, { fired: true });
