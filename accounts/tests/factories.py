import factory

from accounts.models import User


class UserFactory(factory.django.DjangoModelFactory):
    """A customer without a usable password."""

    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"customer{n}@example.com")
    name = factory.Sequence(lambda n: f"Customer {n}")
    password = "!"
