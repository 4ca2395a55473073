from django.apps import AppConfig


class TicketsConfig(AppConfig):
    name = "tickets"

    def ready(self) -> None:
        from accounts import own_data as of_persons
        from bookings import audit
        from bookings.cancelling import returned
        from mail import kinds
        from tickets import fulfilment, mails, own_data
        from tickets.audit import wrong_tickets
        from tickets.returning import mark_returned

        returned.connect(mark_returned)
        audit.also_checked.append(wrong_tickets)
        of_persons.parts.append(own_data.PART)
        kinds.register(fulfilment.TICKETS, mails.tickets)
