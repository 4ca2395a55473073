"""How POST /bookings answers, whichever door the request came through."""

from bookings.errors import PaymentDeclined, PaymentNotInTime
from bookings.holding import Customer
from bookings.models import Booking
from bookings.placing import Placed
from ticketbook.api.problems import describe_refusal
from ticketbook.api.strict import ApiAnswer

# First and replayed: by how the booking stands.
STATUS = {
    Booking.Status.CONFIRMED: 201,
    Booking.Status.CANCELLED: 201,  # it had been confirmed
    Booking.Status.PENDING: 202,
}


def answer_of(placed: Placed, customer: Customer) -> ApiAnswer:
    booking = placed.booking
    body = booking_body(booking, customer)
    if booking.status == Booking.Status.FAILED:
        declined = booking.failure_reason == Booking.FailureReason.DECLINED
        answer = describe_refusal((PaymentDeclined if declined else PaymentNotInTime)(booking=body))
    else:
        status = STATUS[Booking.Status(booking.status)]
        answer = ApiAnswer(status, body, {"Location": f"/api/v1/bookings/{booking.pk}"})
    if placed.replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def booking_body(booking: Booking, customer: Customer) -> dict[str, object]:
    """What BookingSerializer makes of a booking of this customer, without the cost of its fields."""
    return {
        "id": booking.pk,
        "userId": customer.public_id,
        "ticketTierId": booking.ticket_tier_id,
        "quantity": booking.quantity,
        "totalPrice": str(booking.total_price),  # two decimals, as its column has
        "status": booking.status,
        "paymentStatus": booking.payment_status,
        "failureReason": booking.failure_reason,
        "idempotencyKey": booking.idempotency_key,
        "createdAt": booking.created_at,
        "updatedAt": booking.updated_at,
    }
