"""manage.py chain_reindex: builds the index of a chain anew."""

from django.core.management.base import BaseCommand, CommandError

from chain.conf import conf
from chain.errors import ChainError
from chain.identity import verify_deployment
from chain.indexer import Indexer, events_reset
from chain.leases import holder_name, lease_release, lease_take
from chain.models import ChainEvent, ChainState


class Command(BaseCommand):
    help = "Drops the stored blocks and events of a chain and reads them again; nothing else is touched."

    def add_arguments(self, parser):
        parser.add_argument("--chain", choices=sorted(conf().chains), help="only this chain")

    def handle(self, *args, chain=None, verbosity=1, **options):
        for name in [chain] if chain else conf().chains:
            try:
                self._one(name, verbosity)
            except ChainError as error:
                raise CommandError(str(error)) from error

    def _one(self, name, verbosity):
        verify_deployment(name)
        held = lease_take(name=f"indexer:{name}", holder=holder_name(), seconds=conf().lease_seconds)
        if held is None:
            raise CommandError(f"{name}: an indexer is at work; stop it first")
        try:
            events_reset(name, held=held)
            indexer = Indexer(name, held)
            while not indexer.step().is_idle:
                state = ChainState.objects.get(name=name)
                if verbosity > 1:
                    self.stdout.write(f"  {name} {state.cursor_number}/{state.head}")
        finally:
            lease_release(held)
        if verbosity:
            events = ChainEvent.objects.filter(chain=name, is_canonical=True).count()
            self.stdout.write(f"{name}: {events} events")
