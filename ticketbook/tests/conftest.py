import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ticketbook.tests.copying import Source


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of tmp_path. Its name has a space."""
    folder = Path(tempfile.mkdtemp(prefix="ticket book "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def data_dir(open_folder: Path) -> Path:
    """A DATA_DIR that the tests share, so that initdb runs once. Every test leaves its server stopped."""
    return open_folder / "data"


@pytest.fixture
def source():
    return Source()
