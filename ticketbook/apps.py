from django.apps import AppConfig
from django.core import checks


class TicketBookConfig(AppConfig):
    name = "ticketbook"

    def ready(self) -> None:
        from ticketbook.checks import replica_is_ours, ticket_keys_are_set
        from ticketbook.postgres.pooling import pooler_is_as_set

        checks.register(pooler_is_as_set, checks.Tags.database)
        checks.register(ticket_keys_are_set, checks.Tags.security, deploy=True)
        checks.register(replica_is_ours, checks.Tags.database)
