import pytest
from django.core.exceptions import ValidationError

from concerts.models import Concert
from ticketbook.plain_text import plain_text


@pytest.mark.parametrize(
    "text", ["Ann", "Ann-Marie O’Neill", "李娜", "ÅÉ", "Motörhead!", "⭐ 1", "?"]
)
def test_a_name_in_any_script_is_plain_text(text):
    plain_text(text)


@pytest.mark.parametrize(
    "text", ["a\u200bb", "\u2800", "a\u2800b", "a\nb", "a\x00", "\u3164", "a\u202eb", "a\u2028b", "\u0301",
     "\U0001d159"]
)  # fmt: skip
def test_what_cannot_be_seen_is_not(text):
    with pytest.raises(ValidationError):
        plain_text(text)


@pytest.mark.parametrize("field", ["name", "artist", "venue"])
def test_staff_cannot_give_a_concert_a_hidden_name(field):
    with pytest.raises(ValidationError) as refused:
        Concert(**{field: "\u2800"}).clean_fields()
    assert "characters that cannot be seen" in str(refused.value.message_dict[field])
