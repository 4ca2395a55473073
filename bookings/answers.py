"""How POST /bookings answers, on the event loop and on a thread."""

from bookings.errors import PaymentDeclined, PaymentNotInTime
from bookings.models import Booking
from bookings.placing import Placed
from bookings.wishes import Customer
from ticketbook.amounts import plain
from ticketbook.api.answers import ApiAnswer
from ticketbook.api.paths import API
from ticketbook.api.problems import describe_refusal

BOOKINGS = f"{API}/bookings"

# A replay answers by how the booking stands now, with the status of a first answer.
STATUS = {
    Booking.Status.CONFIRMED: 201,
    Booking.Status.CANCELLED: 201,  # it had been confirmed
    Booking.Status.PENDING: 202,
}


def answer_of(placed: Placed, customer: Customer) -> ApiAnswer:
    booking = placed.booking
    body = _booking_body(booking, customer)
    if booking.awaits_customer:
        body["nextAction"] = {"type": "redirect", "url": booking.action_url}
    if booking.status == Booking.Status.FAILED:
        declined = booking.failure_reason == Booking.FailureReason.DECLINED
        answer = describe_refusal((PaymentDeclined if declined else PaymentNotInTime)(booking=body))
    else:
        status = STATUS[Booking.Status(booking.status)]
        answer = ApiAnswer(status, body, {"Location": f"{BOOKINGS}/{booking.pk}"})
    if placed.replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def _booking_body(booking: Booking, customer: Customer) -> dict[str, object]:
    # The same as BookingSerializer makes, without the cost of its fields.
    return {
        "id": booking.pk,
        "userId": customer.public_id,
        "ticketTierId": booking.ticket_tier_id,
        "quantity": booking.quantity,
        "totalPrice": plain(booking.total_price),
        "status": booking.status,
        "paymentStatus": booking.payment_status,
        "failureReason": booking.failure_reason,
        "returnedQuantity": booking.returned_quantity,
        "refundedTotal": plain(booking.refunded_total),
        "idempotencyKey": booking.idempotency_key,
        "createdAt": booking.created_at,
        "updatedAt": booking.updated_at,
    }
