"""One line for each kind of alarm: how bad, what it is called, and what a person does about it."""

from typing import NamedTuple

from django.utils.translation import gettext_lazy as _


class Kind(NamedTuple):
    tone: str  # stop: somebody acts now; warn: somebody looks today
    title: str
    advice: str
    is_tenant: bool = False  # about one organisation: the subject is its slug


UNKNOWN = Kind("warn", _("Something needs a look"), _("Read the message and the log of the part that it names."))

KINDS: dict[str, Kind] = {
    # -- the index ------------------------------------------------------------------------------------------------
    "halted": Kind(
        "stop",
        _("Following stopped for safety"),
        _(
            "The chain contradicts what was final. Nothing new counts until a person has decided. Compare the block "
            "with another node, repair or replace the wrong node, then run: manage.py chain_reindex"
        ),
    ),
    "index_stopped": Kind(
        "stop",
        _("The index has stopped"),
        _("Start the indexer (manage.py chain_index) and read its log. Consents stay closed meanwhile."),
    ),
    "index_lag": Kind(
        "warn",
        _("The index is behind"),
        _("It catches up by itself. When the distance grows, look at the speed of the node and of the database."),
    ),
    "gap": Kind(
        "stop",
        _("A block could not be read"),
        _("Nothing after it is applied. Look why the node refuses this block, or point the chain to another node."),
    ),
    "node_silent": Kind(
        "stop",
        _("The node does not answer"),
        _("Look whether the node runs and whether this machine reaches its address. Work waits, nothing is lost."),
    ),
    "unreachable": Kind(
        "stop",
        _("The node gives no usable answer"),
        _("Look whether the node runs, and whether its address is the right one. Work waits, nothing is lost."),
    ),
    "chain_silent": Kind(
        "stop",
        _("No new blocks"),
        _("The node answers but its network stands still. Look at the validators; more than a third may be down."),
    ),
    "nodes_disagree": Kind(
        "stop",
        _("Two nodes disagree"),
        _("Consent-based releases are refused. Find out which node is wrong by a third one, and take it out."),
    ),
    # -- what is sent ---------------------------------------------------------------------------------------------
    "stuck": Kind(
        "warn",
        _("Transactions are stuck"),
        _("Their fee is raised by itself. Look at the node's pool, and whether the fee limit is too low for today."),
    ),
    "backlog": Kind(
        "warn",
        _("Work waits to be sent"),
        _("Look at the sender's log and the account's money. What waits goes on by itself."),
    ),
    "refused": Kind(
        "warn",
        _("A contract refused a step"),
        _("Look up why: suspended organisation, ended member, or wrong order. Then retry or discard it from its page."),
    ),
    "low_balance": Kind(
        "warn",
        _("An account is low on money"),
        _("Send money to the address named here. What waits goes on by itself."),
    ),
    "anchor_missing": Kind(
        "stop",
        _("An anchor is missing on the chain"),
        _("The chain or the index was changed. Keep a copy of the database, compare with another node, then reindex."),
    ),
    "anchor_alone": Kind(
        "warn",
        _("A record is on one chain only"),
        _("Look why the other chain does not take it: its node, the sender's log, the account's money."),
    ),
    "anchor_different": Kind(
        "stop",
        _("Two chains tell different things"),
        _(
            "The same record has another seal on each chain. Keep a copy of the database, then find out which one "
            "was changed."
        ),
    ),
    "chain_rewritten": Kind(
        "stop",
        _("A chain was rewritten"),
        _("A block that the other chain vouches for is gone. Stop writing, ask the validators, keep both nodes' data."),
    ),
    "head_late": Kind(
        "warn",
        _("The chains have not vouched for each other lately"),
        _("Look at the sender's log, and at the money of the regulator's account."),
    ),
    "foreign_code": Kind(
        "stop",
        _("Foreign code at a contract's address"),
        _("Writing has stopped. Compare with the published code hash and the deployment record before anything else."),
    ),
    "release_waiting": Kind(
        "warn",
        _("A change of the rules is on its way"),
        _("If you did not expect it, ask an officer: until it takes effect any one of them can stop it on “Releases”."),
    ),
    # -- parts that run -------------------------------------------------------------------------------------------
    "worker_dead": Kind(
        "stop",
        _("No worker is at work"),
        _("Start it (celery -A portal worker) and read its log. Uploads are safe and wait."),
    ),
    "queue_stopped": Kind(
        "warn",
        _("Messages do not reach the workers"),
        _("Look at Redis, the worker and the clock (celery -A portal beat). Uploads are safe and wait."),
    ),
    "beat_dead": Kind(
        "stop",
        _("The clock has stopped"),
        _("Start it (celery -A portal beat): without it no lost work is found again and no check runs."),
    ),
    "sender_dead": Kind(
        "stop",
        _("The sender has stopped"),
        _("Start it (manage.py chain_send) and read its log. What waits is in the database and goes on by itself."),
    ),
    "indexer_dead": Kind(
        "stop",
        _("The indexer has stopped"),
        _("Start it (manage.py chain_index) and read its log. Consents stay closed meanwhile."),
    ),
    "projector_dead": Kind(
        "stop",
        _("The projector has stopped"),
        _("Start it (manage.py project) and read its log. New consents and admissions do not count before."),
    ),
    "watch_dead": Kind(
        "stop",
        _("Nobody watches"),
        _("Start it (manage.py watch): code, balances and nodes are not looked at, and no alarm is written down."),
    ),
    "broker_silent": Kind(
        "warn",
        _("Redis does not answer"),
        _("Start it or look at its address. Uploads are still taken; the sweeper goes on when it is back."),
    ),
    "check_failed": Kind(
        "warn",
        _("A check could not run"),
        _("This is a defect of the portal: keep the log of this minute and report it."),
    ),
    # -- records and logs -----------------------------------------------------------------------------------------
    "log_gap": Kind(
        "stop",
        _("An access log was changed"),
        _(
            "Somebody wrote to the database past the portal. Keep a copy of the database now, then find out who; the "
            "patient's page names the entry too."
        ),
        is_tenant=True,
    ),
    "log_map_late": Kind(
        "warn",
        _("The ends of an access log are not anchored lately"),
        _(
            "Patients' exports prove less than they should. Look at the worker's log, and at the sender's: the "
            "hospital's account may be suspended, or its transactions may not get into a block."
        ),
        is_tenant=True,
    ),
    "log_unchecked": Kind(
        "warn",
        _("An access log has not been checked lately"),
        _("Look at the worker's log: the regular check does not come to its end."),
        is_tenant=True,
    ),
    "uploads_waiting": Kind(
        "warn",
        _("Uploads wait to be sealed"),
        _("Look at the worker: is one running, and is there room on the disk? The sweeper hands the work out again."),
    ),
    "blobs_missing": Kind(
        "stop",
        _("Sealed files are missing"),
        _("Restore the named files from the backup. Do not delete rows: the proof stays valid."),
    ),
}
