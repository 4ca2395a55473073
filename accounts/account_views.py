"""What people see and change of their own accounts."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse_lazy
from django.views import View
from django.views.decorators.http import require_safe
from django.views.generic import FormView

from accounts import access, closing, own_data
from accounts.auth import customer
from accounts.forms import AddressForm, AsksPassword, NameForm, PasswordForm
from accounts.models import AddressChange, User
from accounts.new_address import ask_for_address, change_of, confirm_address
from accounts.new_password import LinkUsed, change_password
from accounts.signup import EmailTaken
from ticketbook.api.times import ApiRenderer
from ticketbook.error_handlers import answer_429
from ticketbook.errors import Refusal, Throttled

INDENTED = {"indent": 2}


@require_safe
@login_required
def account(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/account.html")


class AccountForm(LoginRequiredMixin, FormView):  # type: ignore[type-arg]
    """A form that changes something of the account. `said` is told when it is done."""

    template_name = "accounts/form.html"
    success_url = reverse_lazy("accounts:account")
    title = button = said = ""

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs = super().get_form_kwargs()
        if issubclass(self.get_form_class(), AsksPassword):
            kwargs |= {"request": self.request, "user": customer(self.request)}
        return kwargs

    def form_valid(self, form: forms.Form) -> HttpResponse:
        try:
            self.change(customer(self.request), form)
        except Throttled as throttled:
            answer_429(self.request, throttled)
            return self.refused(form, throttled)
        except Refusal as refusal:
            return self.refused(form, refusal)
        messages.success(self.request, self.said)
        return HttpResponseRedirect(self.get_success_url())

    def change(self, user: User, form: forms.Form) -> None:
        """Raises a Refusal, which the page then shows."""
        raise NotImplementedError

    def refused(self, form: forms.Form, refusal: Refusal) -> HttpResponse:
        form.add_error("address" if isinstance(refusal, EmailTaken) else None, str(refusal))
        return self.form_invalid(form)


class Devices(LoginRequiredMixin, View):
    """Where somebody is logged in. A POST ends what `handle` names, or all others if there is none."""

    def get(self, request: HttpRequest) -> HttpResponse:
        all_of_them = self._all(request)
        context = {"all": all_of_them, "others": any(not each.is_this for each in all_of_them)}
        return render(request, "accounts/devices.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        user, handle = customer(request), request.POST.get("handle")
        if not handle:
            access.end_all_others(user, this_session=request.session.session_key)
            messages.success(request, "You are logged in here only, and all API tokens have ended.")
        for each in self._all(request) if handle else ():
            if each.handle == handle and not each.is_this:
                each.end()
                messages.success(request, f"Ended: {each.words}.")
        return HttpResponseRedirect(resolve_url("accounts:devices"))

    def _all(self, request: HttpRequest) -> list[access.Access]:
        return access.all_of(customer(request), this_session=request.session.session_key)


@require_safe
@login_required
def data(request: HttpRequest) -> HttpResponse:
    """A file with all that is kept of the person, written as the API writes it."""
    written = ApiRenderer().render(own_data.export(customer(request)), renderer_context=INDENTED)
    disposition = {"Content-Disposition": 'attachment; filename="ticketbook.json"'}
    return HttpResponse(written, content_type="application/json", headers=disposition)


class Close(AccountForm):
    """Closes the account for good."""

    template_name = "accounts/close.html"
    form_class = AsksPassword
    success_url = reverse_lazy("concerts:list")
    said = "Your account is closed."

    def change(self, user: User, form: forms.Form) -> None:
        closing.close(user, agreed=self.request.POST.get("agreed", ""))
        logout(self.request)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = customer(self.request)
        facts = {
            "why_not": closing.why_not(user),
            "warnings": closing.warnings(user),
            "agreement": closing.agreement(user),
        }
        return super().get_context_data(**facts, **kwargs)


class Name(AccountForm):
    form_class = NameForm
    title, button, said = "Your name", "Save", "Your name is changed."

    def get_initial(self) -> dict[str, Any]:
        return {"name": customer(self.request).name}

    def change(self, user: User, form: forms.Form) -> None:
        User.objects.filter(pk=user.pk, is_active=True).update(name=form.cleaned_data["name"])


class Password(AccountForm):
    form_class = PasswordForm
    title, button = "Your password", "Set the new password"
    said = "Your password is changed. You are logged out everywhere else, and all API tokens have ended."

    def change(self, user: User, form: forms.Form) -> None:
        change_password(user, password=form.cleaned_data["new_password"])
        update_session_auth_hash(self.request, user)


class Address(AccountForm):
    template_name = "accounts/address.html"
    form_class = AddressForm
    title, button = "Your e-mail address", "Send the link"
    said = (
        "We have sent a link to the new address. Open it within a day; nothing is changed before."
    )

    def change(self, user: User, form: forms.Form) -> None:
        ask_for_address(self.request, user, form.cleaned_data["address"])


class ConfirmAddress(View):
    """The page behind the link. A button confirms, because programs that check mails open links too."""

    def get(self, request: HttpRequest, link: str) -> HttpResponse:
        try:
            change = change_of(link)
        except LinkUsed as used:
            return self._refused(request, used, 410)
        return render(request, "accounts/confirm_address.html", {"change": change})

    def post(self, request: HttpRequest, link: str) -> HttpResponse:
        try:
            change = change_of(link)
            confirm_address(change)
        except LinkUsed as used:
            return self._refused(request, used, 410)
        except EmailTaken as taken:
            return self._refused(request, taken, 409)
        return self._done(request, change)

    def out_of_date(self, request: HttpRequest, link: str) -> HttpResponse:
        return self.get(request, link)

    def _done(self, request: HttpRequest, change: AddressChange) -> HttpResponse:
        messages.success(request, f"Your account has the address {change.email} now.")
        mine = request.user.pk == change.user_id
        return HttpResponseRedirect(resolve_url("accounts:account" if mine else "accounts:login"))

    def _refused(self, request: HttpRequest, refusal: Refusal, status: int) -> HttpResponse:
        context = {"refusal": refusal}
        return render(request, "accounts/confirm_address.html", context, status=status)
