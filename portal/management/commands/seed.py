"""Fills a running portal with the demo's people and files. Running it again adds what is missing."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.demo import DemoFailed, World
from portal.demo_uploads import upload_all


class Command(BaseCommand):
    help = "Add the demo's hospitals, people and files to a portal that `manage.py up` runs."

    def add_arguments(self, parser):
        parser.add_argument("--people", action="store_true", help="people only, no files")

    def handle(self, *, people=False, **options):
        try:
            world = World(say=lambda text: self.stdout.write(f"  {text}")).build()
            if people:
                return
            sent = upload_all(world, f"http://localhost:{settings.WEB_PORT}", self.stdout)
        except DemoFailed as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"  {sent} files uploaded" if sent else "  all files are there")
