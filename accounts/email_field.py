"""E-mail addresses are in lower case, so that one address is one account however it is typed."""

from typing import Any

from django import forms
from django.db import models


class EmailAddressFormField(forms.EmailField):
    def to_python(self, value: Any) -> str:
        # Before the length is checked: in a few scripts the lower case is longer.
        return (super().to_python(value) or "").lower()


class EmailAddressField(models.EmailField):  # type: ignore[type-arg]
    """What is saved, typed into a form, or looked up as a whole address becomes lower case."""

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return value.lower() if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return self.to_python(super().get_prep_value(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        address = self.to_python(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, address)
        return address

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": EmailAddressFormField, **kwargs})
