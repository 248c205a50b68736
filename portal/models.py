"""What the portal as a whole remembers: which alarms were raised, and when they ended."""

from django.db import models
from django.db.models import Q


class AlarmRow(models.Model):
    """One alarm from the moment it was raised to the moment it was gone. Holds no name and no content."""

    code = models.CharField(max_length=40)
    chain = models.CharField(max_length=8, blank=True, default="")
    subject = models.CharField(max_length=100, blank=True, default="")
    message = models.TextField()
    # Found by asking a node, the broker or the disk, so pages read it here instead of asking again.
    is_asked = models.BooleanField(default=False)
    raised_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["code", "chain", "subject"], condition=Q(ended_at__isnull=True), name="portal_alarm_open"
            ),
        ]
        indexes = [models.Index(fields=["-ended_at"], name="portal_alarm_ended")]

    def __str__(self) -> str:
        return f"{self.code} {self.chain} {self.subject}".strip()
