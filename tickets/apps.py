from django.apps import AppConfig


class TicketsConfig(AppConfig):
    name = "tickets"

    def ready(self) -> None:
        from accounts import own_data as of_persons
        from bookings import audit
        from bookings.cancelling import returned
        from bookings.mails import on_changed_plan
        from mail import kinds
        from tickets import fulfilment, lost_mail, mails, messages, own_data
        from tickets.audit import wrong_tickets
        from tickets.returning import mark_returned

        returned.connect(mark_returned)
        audit.also_checked.append(wrong_tickets)
        on_changed_plan.append(mails.calendar)
        of_persons.parts.extend([own_data.PART, own_data.MESSAGES])
        kinds.register(fulfilment.TICKETS, mails.tickets)
        kinds.register(messages.MESSAGE, mails.message)
        kinds.register(lost_mail.MY_BOOKINGS, mails.my_bookings)
