"""The patches that break TicketBook on purpose fit the code of today. `make chaos-patches` tries them."""

import pytest

from chaos import patches, referee

PATCHES = {patch.name: patch for patch in patches.patches()}


@pytest.mark.parametrize("name", PATCHES)
def test_each_patch_applies_to_the_code_as_it_is(name):
    assert patches.why_not(PATCHES[name], patches.ROOT) == ""


def test_a_patch_that_no_longer_applies_is_noticed(tmp_path):
    copy = patches.copy_of_repository(tmp_path / "copy")
    patch = PATCHES["no_lock"]
    assert patches.why_not(patch, copy) == ""
    (copy / "concerts" / "stock.py").write_text("# another module\n")
    assert "concerts/stock.py" in patches.why_not(patch, copy)


def test_each_patch_names_a_check_of_the_referee():
    assert {patch.caught_by for patch in PATCHES.values()} <= referee.CHECKS.keys()


def test_there_are_fifteen_patches_and_five_of_them_are_quick():
    assert len(PATCHES) >= 15
    assert len(patches.QUICK) == 5
    assert set(patches.QUICK) <= PATCHES.keys()


def test_the_list_in_the_documents_is_that_of_the_patches():
    listed = (patches.ROOT / "docs" / "reliability.md").read_text()
    for patch in PATCHES.values():
        assert f"| `{patch.name}` | {patch.mistake} | `{patch.caught_by}` |" in listed
