from django.apps import AppConfig


class HospitalsConfig(AppConfig):
    name = "hospitals"
    verbose_name = "Hospitals and people"

    def ready(self) -> None:
        from hospitals import checks  # noqa: F401  (registers the checks)
