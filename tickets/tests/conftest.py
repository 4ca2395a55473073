from bookings.tests.conftest import *  # noqa: F403  (Ann, her tier, her bookings)
