"""What may be seen on the chains: addresses of members and contracts, and words that tie together what is public."""

import re

from eth_utils import keccak

from chain import council
from chain.artefacts import deployment
from chain.models import CouncilReason
from hospitals.models import Membership, Organisation
from hospitals.tenancy import all_tenants
from records.models import AccessGrant

# The anchor envelope in RecordStore, under an identifier that follows from a salt.
ENVELOPE = re.compile(r'@?[0-9a-f]{64}|.?\{"leaf":"[0-9a-f]{64}","suite":1,"v":1\}')
SLOTS = 24  # state variables of one contract, by their place
CONSENT_USES = 4  # recorded, revoked, and each of the two may be tried once more


class Public:
    """Read when the story is over, from the deployment records and the public columns of the tables."""

    def __init__(self, chains):
        places = [deployment(name) for name in chains]
        contracts = [item for place in places for item in (*place.contracts.values(), *place.candidates)]
        self.anchor_logs = {place["AnchorLog"].address for place in places}
        self.names = {item.name for item in contracts}
        with all_tenants("public columns"):
            organisations = Organisation.objects.exclude(account_address=None)
            self.members = {
                *Membership.objects.exclude(chain_address=None).values_list("chain_address", flat=True),
                *organisations.values_list("account_address", flat=True),
            }
            digests = [bytes(row.digest) for row in AccessGrant.objects.all()]
            evidence = [bytes(row.evidence_digest) for row in organisations.exclude(evidence_digest=None)]
        officers = {bytes.fromhex(text[2:]) for name in chains for text in council.council(name).officers}
        deployers = {place.deployer for place in places}
        self.officials = {"0x" + address.hex() for address in officers | deployers}
        self.addresses = {bytes(address) for address in self.members}
        self.addresses |= {item.address for item in contracts} | officers | deployers
        self.words = {*evidence, *(bytes(row.digest) for row in CouncilReason.objects.all())}
        self.words |= {item.code_hash for item in contracts}
        # A contract's own counters and its rows about members lie where everybody can compute it.
        for address in self.addresses:
            self.words |= slots(address.rjust(32, b"\0"))
        self.consents = set(digests).union(*(slots(digest) for digest in digests))

    def is_known(self, known):
        """Names of contracts stand in the log of the regulator, and everybody may read them."""
        return known.value in self.names

    def readable(self, text):
        return text in self.names or bool(ENVELOPE.fullmatch(text))

    def may_repeat(self, word, seen):
        if word in self.words or all(item.sender in self.officials for item in seen):
            return True  # what the regulator and its council do is public, and so is what belongs together there
        if any(address in word for address in self.addresses):
            return True  # the same member at work again
        if word in self.consents:  # it is recorded once and revoked once, and that these belong together is no secret
            return len(seen) <= CONSENT_USES and len({item.sender for item in seen}) == 1
        # A batch of one that was chosen for both chains has the same root on each.
        is_anchor = all(bytes.fromhex(item.to[2:]) in self.anchor_logs for item in seen)
        return is_anchor and len(seen) == 2 and len({item.chain for item in seen}) == 2


def slots(key):
    """Where a mapping with this key lies, and the few words behind."""
    found = set()
    for slot in range(SLOTS):
        start = int.from_bytes(keccak(key + slot.to_bytes(32)))
        found |= {((start + step) % 2**256).to_bytes(32) for step in range(4)}
    return found
