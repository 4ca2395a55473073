"""What a failover test is asked to do."""

import re
from collections.abc import Iterator

from deploy.faults import FAULTS


def planned(wanted: str, *, usual: int) -> Iterator[str]:
    """The names of the faults, each `usual` times or as often as it says: "web primary_machine*20".

    Raises ValueError for what is no fault.
    """
    for each in wanted.replace(",", " ").split():
        name, _, times = each.partition("*")
        if name not in FAULTS or not re.fullmatch(r"[1-9]\d*|", times):
            raise ValueError(f"{each} is no fault. There are: {', '.join(FAULTS)}.")
        yield from [name] * int(times or usual)
