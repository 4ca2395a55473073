from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminPasswordChangeForm as AdminOwnPasswordForm
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.views import PasswordChangeView
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from knox.models import AuthToken

from accounts.forms import StaffLogInForm
from accounts.models import User
from accounts.own_password import check_own_password
from ticketbook.admin_forms import MergingAdmin

HISTORY = (
    "bookings, refunds or changes in the back office. History outlives its author: "
    "deactivate the user instead."
)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    """Whether this member of staff may change the user.

    They may not if the user has a permission that they lack. Otherwise they could set a password and log in
    as that user.
    """
    if user is None or _is_superuser(request):
        return True
    given = Permission.objects.filter(Q(user=user) | Q(group__user=user))  # also while not active
    own = Permission.objects.filter(Q(user=request.user.pk) | Q(group__user=request.user.pk))
    return not user.is_superuser and not given.exclude(pk__in=own.values("pk")).exists()


class UserCreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class WritesOnlyPassword:
    """Django's forms for a password save the whole user as it was read, and hashing takes its time."""

    def set_password_and_save(
        self, user: User, *args: Any, commit: bool = True, **kwargs: Any
    ) -> User:
        super().set_password_and_save(user, *args, commit=False, **kwargs)  # type: ignore[misc]
        if commit:
            user.save(update_fields=["password"])
        return user


class SetPasswordForm(WritesOnlyPassword, AdminPasswordChangeForm):
    """A user without a password has no API tokens either. (With a new one: passwords.EndsTokens.)"""

    # Which password there was when the form was opened. Browsers send it back.
    before = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self._now = salted_hmac("password before", user.password).hexdigest()
        self.fields["before"].initial = self._now

    def clean(self) -> Any:
        if self.cleaned_data.get("before") not in {"", self._now}:
            data: Any = self.data
            self.data = data.copy()
            self.data["before"] = self._now  # type: ignore[index]
            self.add_error(
                "password1",
                "The password was changed while this form was open. Nothing was saved. To set yours, type "
                "it once more.",
            )
        return super().clean()

    @transaction.atomic
    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit)
        AuthToken.objects.filter(user=user).delete()
        return user


class OwnPasswordForm(WritesOnlyPassword, AdminOwnPasswordForm):
    """It asks for the old password, which somebody at a session that was left open could guess."""

    request: HttpRequest

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        check_own_password(self.request, self.user, old)
        return old


def own_password(request: HttpRequest, extra_context: Any = None) -> Any:
    # Django's own view cannot be told to use another form.
    view = PasswordChangeView.as_view(
        form_class=type("OwnPasswordForm", (OwnPasswordForm,), {"request": request}),
        success_url=reverse("admin:password_change_done"),
        extra_context=admin.site.each_context(request) | (extra_context or {}),
    )
    return view(request)


admin.site.password_change = own_password  # type: ignore[method-assign]


@admin.register(User)
class UserAdmin(MergingAdmin, DjangoUserAdmin):
    add_form = UserCreationForm
    change_password_form = SetPasswordForm
    list_display = ["email", "name", "is_staff", "is_guest", "date_joined"]
    list_unread = ["password"]
    list_filter = ["is_staff", "is_guest", "is_active"]
    search_fields = ["email", "name", "public_id"]
    ordering = ["email"]
    readonly_fields = ["public_id", "is_guest", "date_joined", "last_login"]
    for_superusers = ["is_superuser", "groups", "user_permissions"]
    fieldsets = [
        (None, {"fields": ["email", "password"]}),
        ("Person", {"fields": ["name", "public_id", "is_guest"]}),
        (
            "May",
            {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]},
        ),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (
            None,
            {
                "classes": ["wide"],
                "fields": ["email", "name", "usable_password", "password1", "password2"],
            },
        ),
    ]

    @method_decorator(sensitive_post_parameters())
    @transaction.atomic
    def user_change_password(self, *args: Any, **kwargs: Any) -> HttpResponse:
        # In a transaction, because get_object locks the user.
        response: HttpResponse = super().user_change_password(*args, **kwargs)
        return response

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # A guest has nothing that staff could change, and shall get no password and no permission.
        is_guest = obj is not None and obj.is_guest
        return (
            not is_guest
            and super().has_change_permission(request, obj)
            and _may_touch(request, obj)
        )

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return [*self.readonly_fields, *([] if _is_superuser(request) else self.for_superusers)]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        deleted, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        if protected or LogEntry.objects.filter(user__in=[user.pk for user in objs]).exists():
            # Django would say that a permission is missing, or delete what a member of staff has done.
            return deleted, counts, set(), [HISTORY]
        return deleted, counts, perms_needed, protected


class ForSuperusers:
    """A group gives its permissions to all who are in it, so it is for superusers to change."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    has_change_permission = has_delete_permission = has_add_permission


admin.site.login_form = StaffLogInForm
admin.site.unregister(Group)
admin.site.unregister(AuthToken)


@admin.register(Group)
class GroupAdmin(ForSuperusers, MergingAdmin, DjangoGroupAdmin):
    pass


@admin.register(AuthToken)
class AuthTokenAdmin(admin.ModelAdmin):
    """API tokens are listed, and revoked by deleting them. knox's own page makes and shows them."""

    list_display = ["user", "created", "expiry"]
    list_unread = ["user__password"]
    list_display_links = None
    list_select_related = ["user"]
    search_fields = ["user__email", "user__name"]
    ordering = ["-created"]
    fields = ["user", "created", "expiry"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj and obj.user)
