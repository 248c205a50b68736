from django.apps import AppConfig


class ChainConfig(AppConfig):
    name = "chain"
    verbose_name = "Chains"
    default_auto_field = "django.db.models.BigAutoField"
