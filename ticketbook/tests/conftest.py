import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach, unlike those of tmp_path, and with a space in its name."""
    folder = Path(tempfile.mkdtemp(prefix="ticket book "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def data_dir(open_folder: Path) -> Path:
    """A DATA_DIR that the tests share, so that initdb runs once; every test leaves it stopped."""
    return open_folder / "data"
