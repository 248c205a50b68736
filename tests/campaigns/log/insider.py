"""Somebody who may write anything into the database, and how much of it he mends after each change.

How thorough: ROWS changes one row and leaves the rest. LINKS makes every later leaf, link and head fit again. ITEMS
also mends what was given to the sender. INDEX also mends the copies of the chain's events, so that only the chain
itself still knows.
"""

import json
from datetime import timedelta

from django.utils import timezone

from chain.models import ChainEvent, OutboxItem
from chain.types import hex0x
from hospitals import audit, audit_maps
from hospitals.audit_format import GENESIS, leaf_of, link_of
from hospitals.models import AuditEntry, AuditHead, AuditLine, AuditMap
from hospitals.tenancy import all_tenants, tenant

ROWS, LINKS, ITEMS, INDEX = "rows", "links", "items", "index"
LEVELS = (ROWS, LINKS, ITEMS, INDEX)
CHANGES = {
    "action": "records.listed",
    "basis": "consent",
    "purpose": "HRESCH",
    "actor_role": "nurse",
    "channel": "task",
    "request_id": "00000000",
    "target_type": "patient",
    "target_id": "0",
    "is_refused": True,
    "detail": {"n": 1000},
    "actor_user": None,
    "actor_membership": None,
}
DIGESTS = ("salt", "leaf", "link", "previous_link", "patient_link", "patient_previous_link")


class Insider:
    def __init__(self, cast, drive):
        self.cast, self.hospital = cast, cast.a
        for number in range(24):
            self._write(number)
        drive()
        self._map(drive)
        for number in range(24, 28):
            self._write(number)
        drive()
        self._map(drive)
        for number in range(28, 31):
            self._write(number)
        drive()
        self.final = self.end().seq
        for number in range(31, 34):
            self._write(number)

    def _write(self, number):
        patient = (self.cast.pat_a, self.cast.kim_a, None, self.cast.pat_a)[number % 4]
        actor = self.cast.actor((self.cast.alice, self.cast.adam)[number % 2])
        audit.append(
            hospital=self.hospital, actor=actor, action="records.opened", patient=patient, detail={"n": number}
        )

    def _map(self, drive):
        assert audit_maps.map_make(self.hospital)
        drive()

    # -- reading --------------------------------------------------------------------------------------------------

    def rows(self):
        with tenant(self.hospital):
            return list(AuditEntry.objects.order_by("seq"))

    def end(self):
        return self.rows()[-1]

    # -- one change -----------------------------------------------------------------------------------------------

    def edit(self, seq, name, value, level):
        rows = self.rows()
        row = rows[seq - 1]
        if name == "at":
            value = row.at + timedelta(seconds=value)
        setattr(row, name, value)
        self._store(rows, level, after=seq)

    def delete(self, seq, level):
        rows = self.rows()
        gone = rows.pop(seq - 1)
        self._remove([gone], with_items=level in (ITEMS, INDEX))
        if level != ROWS:
            self._store(rows, level, after=seq)

    def truncate(self, seq, level):
        """`seq` and everything after it."""
        rows = self.rows()
        self._remove(rows[seq - 1 :], with_items=level in (ITEMS, INDEX))
        if level != ROWS:
            self._store(rows[: seq - 1], level, after=seq)

    def swap(self, seq, other, level):
        """Two acts change places."""
        rows = self.rows()
        rows[seq - 1], rows[other - 1] = rows[other - 1], rows[seq - 1]
        rows[seq - 1].seq, rows[other - 1].seq = seq, other
        self._store(rows, level, after=seq)

    def insert(self, seq, level):
        """An act that nobody did, before the one that has `seq` now."""
        rows = self.rows()
        new = self._copy(rows[max(0, seq - 2)])
        if level == ROWS:
            # Without mending, a number can only be given once: the new row takes the one after the last.
            new.seq = len(rows) + 1
            self._insert(new, rows[-1])
            return new.seq
        rows.insert(seq - 1, new)
        self._store(rows, level, after=seq, new=new)
        return seq

    def _copy(self, like):
        row = AuditEntry(**{field.attname: getattr(like, field.attname) for field in AuditEntry._meta.concrete_fields})
        row.pk = audit._entry(self.hospital, self.cast.actor(self.cast.alice), audit.Draft("x"), timezone.now()).pk
        row.chain_ref, row.salt, row.detail = f"audit:{row.pk.hex}", bytes(range(32)), {"n": 999}
        return row

    def _insert(self, new, last):
        new.previous_link = bytes(last.link)
        if new.patient_id:
            lines = [row for row in self.rows() if row.patient_id == new.patient_id]
            new.patient_seq, new.patient_previous_link = lines[-1].patient_seq + 1, bytes(lines[-1].patient_link)
        new.leaf = leaf_of(new)
        new.link = link_of(new.previous_link, new.leaf)
        if new.patient_id:
            new.patient_link = link_of(new.patient_previous_link, new.leaf)
        with tenant(self.hospital):
            AuditEntry.objects.bulk_create([new])
            AuditHead.objects.update(seq=new.seq, link=new.link)

    # -- what is mended -------------------------------------------------------------------------------------------

    def _remove(self, rows, *, with_items):
        with tenant(self.hospital):
            AuditEntry.objects.filter(pk__in=[row.pk for row in rows])._raw_delete("default")
        if with_items:
            OutboxItem.objects.filter(ref__in=[row.chain_ref for row in rows]).delete()

    def _store(self, rows, level, *, after, new=None):
        old = {row.pk: bytes(row.leaf) for row in rows}
        if level != ROWS:
            self._mend_links(rows)
        self._write_rows(rows, after, new)
        if level == ROWS:
            return
        with tenant(self.hospital):
            AuditHead.objects.update(seq=len(rows), link=rows[-1].link if rows else GENESIS)
        if level == LINKS:
            return
        for row in rows:
            if row is new:
                neighbour = rows[row.seq - 2] if row.seq > 1 else rows[1]
                like = OutboxItem.objects.get(ref=neighbour.chain_ref)
                OutboxItem.objects.create(
                    chain=like.chain, sender=like.sender, lane=like.lane, ref=row.chain_ref, leaf=row.leaf,
                    state=like.state, transaction=like.transaction, leaf_index=None,
                )  # fmt: skip
            elif bytes(row.leaf) != old[row.pk]:
                OutboxItem.objects.filter(ref=row.chain_ref).update(leaf=row.leaf)
        if level == INDEX:
            self._mend_index(rows)
            self._mend_maps(rows)

    def _mend_links(self, rows):
        link, ends = GENESIS, {}
        for number, row in enumerate(rows, 1):
            row.seq, row.previous_link = number, link
            if row.patient_id:
                count, before = ends.get(row.patient_id, (0, GENESIS))
                row.patient_seq, row.patient_previous_link = count + 1, before
            row.leaf = leaf_of(row)
            link = row.link = link_of(link, row.leaf)
            if row.patient_id:
                row.patient_link = link_of(row.patient_previous_link, row.leaf)
                ends[row.patient_id] = (row.patient_seq, row.patient_link)

    def _write_rows(self, rows, after, new):
        """Numbers are unique, so the changed rows are taken out and put in again."""
        changed = [row for row in rows if row.seq >= after or row is new]
        with tenant(self.hospital):
            AuditEntry.objects.filter(pk__in=[row.pk for row in changed])._raw_delete("default")
            AuditEntry.objects.bulk_create(changed)

    def _mend_index(self, rows):
        """The copies of the chain's events say what the rows say now."""
        leaves = [hex0x(row.leaf) for row in rows]
        events = ChainEvent.objects.filter(
            name="AccessLogged", args__organisation=hex0x(bytes(self.hospital.account_address))
        ).order_by("block_number", "log_index")
        for event in events:
            size = len(event.args["leaves"])
            args = event.args | {"leaves": leaves[:size]}
            leaves = leaves[size:]
            ChainEvent.objects.filter(pk=event.pk).update(args=args)

    def _mend_maps(self, rows):
        """The maps' rows, too; their anchored heads cannot be mended."""
        with tenant(self.hospital):
            ends = {}
            for row in AuditMap.objects.order_by("number"):
                last = rows[row.seq - 1] if row.seq <= len(rows) else rows[-1] if rows else None
                if last is None:
                    continue
                for entry in rows[: row.seq]:
                    if entry.patient_id:
                        ends[entry.patient_id] = (entry.patient_seq, bytes(entry.patient_link))
                lines = list(AuditLine.objects.filter(first_map__lte=row.number))
                for line in lines:
                    line.count, line.link = ends.get(line.patient_id, (0, GENESIS))
                AuditLine.objects.bulk_update(lines, ["count", "link"])
                leaves = audit_maps.leaves_of(lines, row.number)
                row.seq, row.link, row.root = last.seq, last.link, audit_maps.audit_map.root_of(leaves)
                row.save()

    # -- around the log -------------------------------------------------------------------------------------------

    def around(self, rng):
        """Something beside the entries; returns its name."""
        choices = {
            "head moved": lambda: AuditHead.objects.update(seq=rng.randrange(1, 30)),
            "head's link": lambda: AuditHead.objects.update(link=rng.randbytes(32)),
            "line's count": lambda: self._one(AuditLine, rng).update(count=rng.randrange(100, 200)),
            "line's key": lambda: self._one(AuditLine, rng).update(log_key=rng.randbytes(32)),
            "line gone": lambda: self._one(AuditLine, rng)._raw_delete("default"),
            "map's root": lambda: self._one(AuditMap, rng).update(root=rng.randbytes(32)),
            "map's head": lambda: self._one(AuditMap, rng).update(head=rng.randbytes(32)),
            "map gone": lambda: self._one(AuditMap, rng)._raw_delete("default"),
            "item's leaf": lambda: self._item(rng).update(leaf=rng.randbytes(32)),
            "event gone": lambda: self._event(rng).delete(),
            "event's leaf": lambda: self._change_event(rng),
        }
        name = rng.choice(sorted(choices))
        with all_tenants("an insider's change"):
            choices[name]()
        return name

    def _one(self, model, rng):
        keys = sorted(model.objects.filter(hospital=self.hospital).values_list("pk", flat=True), key=str)
        return model.objects.filter(pk=rng.choice(keys))

    def _item(self, rng):
        row = rng.choice(self.rows())
        return OutboxItem.objects.filter(ref=row.chain_ref)

    def _event(self, rng):
        sender = hex0x(bytes(self.hospital.account_address))
        events = ChainEvent.objects.filter(name="AccessLogged", args__organisation=sender).order_by("pk")
        return ChainEvent.objects.filter(pk=rng.choice(list(events.values_list("pk", flat=True))))

    def _change_event(self, rng):
        event = self._event(rng).get()
        args = json.loads(json.dumps(event.args))
        args["leaves"][rng.randrange(len(args["leaves"]))] = hex0x(rng.randbytes(32))
        ChainEvent.objects.filter(pk=event.pk).update(args=args)
