"""The nightly second verification, now and in the foreground."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from records.verification.nightly import verify_all


class Command(BaseCommand):
    help = "Check every signature on records again with a second library; fails when one does not fit."

    def handle(self, *args: Any, **options: Any) -> None:
        result = verify_all()
        self.stdout.write(f"{result.checked} encryptions checked.")
        if not result.is_good:
            for fault in result.faults:
                self.stdout.write(f"{fault.epoch_id} {fault.layer}: {fault.kind}")
            raise CommandError(f"{len(result.faults)} signatures do not fit. Do not delete anything; see operations.")
