from django.apps import AppConfig


class TicketsConfig(AppConfig):
    name = "tickets"

    def ready(self) -> None:
        from accounts import own_data as of_persons
        from bookings import audit, searching
        from bookings.cancelling import returned
        from bookings.handing_over import handed_over
        from bookings.mails import on_changed_plan
        from mail import kinds
        from tickets import fulfilment, lost_mail, mails, messages, own_data
        from tickets.audit import wrong_tickets
        from tickets.handing_over import replace_tickets
        from tickets.models import bookings_of_code
        from tickets.returning import mark_returned

        searching.also_found.append(bookings_of_code)
        returned.connect(mark_returned)
        handed_over.connect(replace_tickets)
        audit.also_checked.append(wrong_tickets)
        on_changed_plan.append(mails.calendar)
        of_persons.parts.extend([own_data.PART, own_data.MESSAGES])
        kinds.register(fulfilment.TICKETS, mails.tickets)
        kinds.register(messages.MESSAGE, mails.message)
        kinds.register(lost_mail.MY_BOOKINGS, mails.my_bookings)
