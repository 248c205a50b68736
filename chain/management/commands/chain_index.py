"""manage.py chain_index: keeps the index of both chains up to date."""

from chain.indexer import Indexer
from chain.management.serving import ServingCommand


class Command(ServingCommand):
    help = "Follows the chains and stores their events, safe against reorganisations."
    job = "indexer"
    stepping = Indexer
