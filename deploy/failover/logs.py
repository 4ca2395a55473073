"""Counts what the members' PostgreSQL has refused as read-only, SQLSTATE 25006, from a moment on."""

from deploy.layout import MEMBERS, Layout

READ_ONLY = b"in a read-only transaction"


class ReadOnlyErrors:
    def __init__(self, where: Layout) -> None:
        self.files = [where.logs / f"n{member}.log" for member in MEMBERS]
        self.sizes: list[int] = []

    def begin(self) -> None:
        self.sizes = [file.stat().st_size for file in self.files]

    def count(self) -> int:
        """How many there were since `begin`."""
        found = 0
        for file, size in zip(self.files, self.sizes, strict=True):
            with open(file, "rb") as log:
                log.seek(size)
                found += log.read().count(READ_ONLY)
        return found
