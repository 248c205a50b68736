"""manage.py chain_send: the one sender of each chain."""

from chain.management.serving import ServingCommand
from chain.sending import Sender


class Command(ServingCommand):
    help = "Batches, signs, sends and follows whatever the outbox holds."
    job = "sender"
    stepping = Sender
