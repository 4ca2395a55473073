from django.urls import path

from accounts import account_views, api, views

app_name = "accounts"

urlpatterns = [
    path("signup/", views.SignUp.as_view(), name="signup"),
    path("login/", views.LogIn.as_view(), name="login"),
    path("logout/", views.LogOut.as_view(), name="logout"),
    path("forgotten/", views.Forgotten.as_view(), name="forgot"),
    path("reset/<str:uidb64>/<str:token>/", views.Reset.as_view(), name="reset"),
    path("", account_views.account, name="account"),
    path("name/", account_views.Name.as_view(), name="name"),
    path("devices/", account_views.Devices.as_view(), name="devices"),
    path("data.json", account_views.data, name="data"),
    path("close/", account_views.Close.as_view(), name="close"),
    path("password/", account_views.Password.as_view(), name="password"),
    path("address/", account_views.Address.as_view(), name="address"),
    path("confirm/<str:link>/", account_views.ConfirmAddress.as_view(), name="confirm_address"),
]

api_urlpatterns = [
    path("users", api.Users.as_view()),
    path("auth/token", api.Token.as_view()),
]
