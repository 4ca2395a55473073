"""E-mail addresses have one form, so that one address is one account however it is typed."""

import unicodedata
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.db import models


def one_form(address: str) -> str:
    """In lower case, and with one spelling of letters that Unicode can write in several ways (NFKC)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address).lower())


def known_letters(address: str) -> None:
    """A validator. PostgreSQL knows letters of a later Unicode, and may find that one has a lower case."""
    if any(unicodedata.category(letter) == "Cn" for letter in address):
        raise ValidationError(EmailValidator.message, code=EmailValidator.code)


class EmailAddressFormField(forms.EmailField):
    default_validators = [*forms.EmailField.default_validators, known_letters]

    def to_python(self, value: Any) -> str:
        # Before the length is checked: in a few scripts the lower case is longer.
        return one_form(super().to_python(value) or "")


class EmailAddressField(models.EmailField):  # type: ignore[type-arg]
    """An address gets its one form when it is saved, typed into a form, or looked up."""

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return one_form(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return self.to_python(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        address = self.to_python(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, address)
        return address

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": EmailAddressFormField, **kwargs})
