"""The code of a ticket can be read out, and is understood as people type it."""

import pytest

from tickets.codes import ALPHABET, LENGTH, BadCode, new_code, read_code


def test_a_code_has_at_least_fifty_random_bits_and_is_shown_in_groups():
    assert len(ALPHABET) ** LENGTH >= 2**50
    codes = {new_code() for _ in range(1000)}
    assert len(codes) == 1000
    assert {tuple(map(len, code.split("-"))) for code in codes} == {(4, 4, 3)}
    for place in {0, 5, 12}:  # each place takes every letter
        assert {code[place] for code in codes} == set(ALPHABET)


@pytest.mark.parametrize(
    "typed",
    [
        "70X1-9MRT-2K8",
        "70x1-9mrt-2k8",
        "7OXI-9MRT-2K8",
        "7oxl-9mrt-2k8",
        "70X19MRT2K8",
        " 70X1 9MRT 2K8\n",
        "70X1–9MRT—2K8",
        "7-0-X-1-9-M-R-T-2-K-8",
    ],
)
def test_a_code_is_understood_as_people_type_it(typed):
    assert read_code(typed) == "70X1-9MRT-2K8"


@pytest.mark.parametrize(
    "typed", ["", "70X1-9MRT-2K", "70X1-9MRT-2K88", "70X1-9MRT-2KU", "70X1-9MRT-2K٨", "ß" * 11]
)
def test_what_is_no_code_is_refused(typed):
    with pytest.raises(BadCode):
        read_code(typed)


def test_every_new_code_is_read_as_itself():
    for code in (new_code() for _ in range(200)):
        assert read_code(code.lower().replace("0", "o").replace("1", "l")) == code
