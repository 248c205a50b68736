"""Routes that need no account."""

from django.urls import path

from portal.dashboards import contracts, public, verify, viewer

app_name = "public"
urlpatterns = [
    path("", public.home, name="home"),
    path("register/", public.register, name="register"),
    path("apply/", public.apply, name="apply"),
    path("apply/thanks/", public.apply_thanks, name="apply-thanks"),
    path("verify/", verify.verify, name="verify"),
    path("verify/chain", verify.anchored, name="verify-chain"),
    path("verify/log", verify.log_map, name="verify-log"),
    path("verify/trust.json", verify.trust, name="verify-trust"),
    path("verify/verify_receipt.py", verify.checker, name="verify-checker"),
    path("contracts/", contracts.contracts, name="contracts"),
    path("chain/", viewer.chains, name="chain"),
    path("chain/<str:chain>/tx/<str:tx_hash>/", viewer.transaction, name="transaction"),
    path("chain/<str:chain>/block/<int:number>/", viewer.block, name="block"),
]
