from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.views import (
    INTERNAL_RESET_SESSION_TOKEN,
    LoginView,
    LogoutView,
    PasswordResetConfirmView,
    RedirectURLMixin,
)
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse_lazy
from django.views.generic import FormView

from accounts import devices, throttle
from accounts.forms import ForgottenForm, LogInForm, ResetForm, SignUpForm
from accounts.models import User
from accounts.new_password import LinkUsed, ask_for_link, may_reset, reset_links, reset_password
from accounts.signup import EmailTaken, sign_up
from ticketbook.error_handlers import answer_429
from ticketbook.errors import Throttled


class Onwards(RedirectURLMixin):
    """Goes on to `next` if it is a page of ours, but never back to log-in or log-out."""

    request: HttpRequest

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        url = super().get_redirect_url()
        return "" if self._goes_back(url) else url

    def _goes_back(self, url: str) -> bool:
        # Read the address as a browser does: relative to this page, and "\" is a "/".
        path = urljoin(self.request.path, unquote(urlsplit(url.replace("\\", "/")).path))
        return path.rstrip("/") in {
            resolve_url(name).rstrip("/") for name in ("accounts:login", "accounts:logout")
        }


OUT_OF_DATE = "This page was out of date and has been renewed. Please send it once more."
TYPED = ("name", "email", "username")  # all but the password


class DrawnAnew(Onwards, FormView):  # type: ignore[type-arg]
    """A form for strangers that keeps what was typed, and `next`, when its page was out of date."""

    def out_of_date(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            messages.info(request, "You are logged in already.")
            return HttpResponseRedirect(self.get_success_url())
        messages.error(request, OUT_OF_DATE)
        typed = {name: request.POST[name] for name in TYPED if name in request.POST}
        form = self.get_form_class()(initial=typed)
        return self.render_to_response(self.get_context_data(form=form))


class LogIn(DrawnAnew, LoginView):
    template_name = "accounts/login.html"
    authentication_form = LogInForm
    redirect_authenticated_user = True


class LogOut(LogoutView):
    def out_of_date(self, request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return HttpResponseRedirect(self.get_success_url())
        return render(request, "accounts/logout.html", status=403)


class SignUp(DrawnAnew):
    """Sign up, log in, and go on."""

    template_name = "accounts/signup.html"
    form_class = SignUpForm
    next_page = "concerts:list"

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        try:
            throttle.count(
                *throttle.by_address("sign-up", settings.SIGNUPS_PER_ADDRESS, self.request)
            )
            user = sign_up(**form.cleaned_data)
        except Throttled as throttled:
            answer_429(self.request, throttled)
            form.add_error(None, str(throttled))
            return self.form_invalid(form)
        except EmailTaken as exc:
            form.add_error("email", str(exc))
            return self.form_invalid(form)
        devices.remember(self.request, user.email)
        login(self.request, user)
        return super().form_valid(form)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return super().get_context_data(next=self.get_redirect_url(), **kwargs)


class Forgotten(DrawnAnew):
    """Asks for a link by mail. The answer is the same whether the address is known or not."""

    template_name = "accounts/forgotten.html"
    form_class = ForgottenForm
    next_page = "concerts:list"

    def form_valid(self, form: ForgottenForm) -> HttpResponse:
        try:
            ask_for_link(self.request, form.cleaned_data["email"])
        except Throttled as throttled:
            answer_429(self.request, throttled)
            form.add_error(None, str(throttled))
            return self.form_invalid(form)
        return render(self.request, "accounts/link_sent.html", form.cleaned_data)


class Reset(PasswordResetConfirmView):
    """The page behind the link. Django moves the token from the address into the session."""

    template_name = "accounts/reset.html"
    form_class = ResetForm  # type: ignore[assignment]
    token_generator = reset_links
    success_url = reverse_lazy("concerts:list")
    user: User | None

    def get_user(self, uidb64: str) -> User | None:
        user = super().get_user(uidb64)
        return user if user and may_reset(user) else None

    def form_valid(self, form: ResetForm) -> HttpResponse:  # type: ignore[override]
        user, token = form.user, self.request.session.pop(INTERNAL_RESET_SESSION_TOKEN)
        try:
            reset_password(user, token=token, password=form.cleaned_data["new_password"])
        except LinkUsed:
            self.validlink = False
            return self.render_to_response(self.get_context_data())
        login(self.request, user)
        devices.remember(self.request, user.email)
        messages.success(self.request, "Your new password is set, and you are logged in.")
        return HttpResponseRedirect(self.get_success_url())

    def render_to_response(self, context: Any, **kwargs: Any) -> HttpResponse:
        status = 200 if self.validlink else 410
        return super().render_to_response(context, status=status, **kwargs)
