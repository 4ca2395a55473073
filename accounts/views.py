from django.contrib.auth import login
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import HttpResponse
from django.views.generic import FormView

from accounts.forms import LogInForm, SignUpForm
from accounts.signup import EmailTaken, sign_up


class LogIn(LoginView):
    template_name = "accounts/login.html"
    authentication_form = LogInForm
    redirect_authenticated_user = True


class SignUp(RedirectURLMixin, FormView):  # type: ignore[type-arg]
    """Sign up, log in, and go on to `next` if it is a page of ours."""

    template_name = "accounts/signup.html"
    form_class = SignUpForm
    next_page = "concerts:list"

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        try:
            user = sign_up(**form.cleaned_data)
        except EmailTaken as exc:
            form.add_error("email", str(exc))
            return self.form_invalid(form)
        login(self.request, user)
        return super().form_valid(form)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return super().get_context_data(next=self.get_redirect_url(), **kwargs)
