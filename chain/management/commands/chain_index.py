"""manage.py chain_index: keeps the index of both chains up to date."""

import gc

from chain.indexer import Indexer
from chain.management.serving import ServingCommand


class Command(ServingCommand):
    help = "Follows the chains and stores their events, safe against reorganisations."
    job = "indexer"
    stepping = Indexer

    def handle(self, *args, **options):
        # Rows come in tens of thousands and hold no circles; collecting garbage at every few hundred costs a fifth.
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        super().handle(*args, **options)
