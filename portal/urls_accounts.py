"""Signing in and out, and the person's own account; the rest of /accounts/ is the library's."""

from django.urls import include, path

from portal.dashboards import account

urlpatterns = [
    path("", account.home, name="account_home"),
    path("place/", account.place, name="account_place"),
    path("alive/", account.alive, name="account_alive"),
    path("activate/", account.activate, name="account_activate"),
    path("hospital/", account.claim, name="account_claim"),
    path("hospital/sent/", account.claim_sent, name="account_claim_sent"),
    path("hospital/<uuid:pk>/", account.link_accept, name="account_link_accept"),
    path("devices/<int:pk>/end/", account.device_end, name="account_device_end"),
    # These stand before the library's own routes of the same name and path.
    path("logout/", account.sign_out, name="account_logout"),
    path("2fa/", account.second_step_index, name="mfa_index"),
    path("2fa/webauthn/keys/<int:pk>/remove/", account.passkey_remove, name="mfa_remove_webauthn"),
    path("", include("allauth.urls")),
]
