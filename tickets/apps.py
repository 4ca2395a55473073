from django.apps import AppConfig


class TicketsConfig(AppConfig):
    name = "tickets"

    def ready(self) -> None:
        from bookings import audit
        from bookings.cancelling import returned
        from mail import kinds
        from tickets import fulfilment, lost_mail, mails
        from tickets.audit import wrong_tickets
        from tickets.returning import mark_returned

        returned.connect(mark_returned)
        audit.also_checked.append(wrong_tickets)
        kinds.register(fulfilment.TICKETS, mails.tickets)
        kinds.register(lost_mail.MY_BOOKINGS, mails.my_bookings)
