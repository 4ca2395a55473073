import pytest

from deploy import configuration
from deploy.layout import SECRETS, Layout


@pytest.fixture
def where(tmp_path):
    """A cluster's place, with nothing in it."""
    return Layout(home=tmp_path, secrets={name: f"the-{name}" for name in SECRETS})


@pytest.fixture
def written(where, monkeypatch):
    """The same with its configuration, which belongs to the user of the tests."""
    monkeypatch.setattr(configuration, "hand_over", lambda path: None)
    configuration.make_folders(where)
    configuration.write(where)
    return where
