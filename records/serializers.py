"""What the API says about records, uploads and grants. Only declared keys leave or enter."""

from typing import Any

from rest_framework import serializers

from records import grants
from records.models import AccessGrant, Category, Chains, Purpose, ScopeType, Upload


class RecordRowSerializer(serializers.Serializer):
    """A line of a list. `state` is the life of the newest version."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    category = serializers.ChoiceField(choices=Category.choices)
    care_on = serializers.DateField(allow_null=True)
    created_at = serializers.DateTimeField()
    hospital = serializers.CharField(source="hospital.name")
    author = serializers.CharField(source="author_name")
    version = serializers.IntegerField(source="version_number")
    chains = serializers.ChoiceField(choices=Chains.choices)
    state = serializers.CharField()


class VersionSerializer(serializers.Serializer):
    number = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    author = serializers.CharField(source="author_name")
    state = serializers.CharField()


class ProofSerializer(serializers.Serializer):
    """Where the version is anchored. The receipt has what is needed to check it."""

    chain = serializers.CharField()
    state = serializers.CharField()
    chain_id = serializers.IntegerField(allow_null=True)
    block_number = serializers.IntegerField(allow_null=True)
    block_time = serializers.DateTimeField(allow_null=True)
    tx_hash = serializers.CharField(source="tx_hash_hex", help_text="Empty until sent.")
    contract = serializers.CharField()
    confirmations = serializers.IntegerField()
    confirmations_needed = serializers.IntegerField()


class RecordSerializer(RecordRowSerializer):
    proof = serializers.CharField(
        source="proof_state", help_text="authentic, pending, altered, superseded, erased or unknown."
    )
    anchors = ProofSerializer(source="proofs", many=True)
    versions = VersionSerializer(many=True)
    media_type = serializers.CharField()
    filename = serializers.CharField()
    size = serializers.IntegerField()


class UploadWishSerializer(serializers.Serializer):
    """The parts of the multipart form."""

    file = serializers.FileField(allow_empty_file=True, help_text="The file; it is sealed while it arrives.")
    title = serializers.CharField(max_length=200)
    category = serializers.ChoiceField(choices=Category.choices)
    chains = serializers.ChoiceField(choices=Chains.choices, default=Chains.SUP)
    care_on = serializers.DateField(required=False, allow_null=True)
    record = serializers.UUIDField(required=False, help_text="Makes this a new version of that record.")
    base_version = serializers.IntegerField(
        required=False, help_text="The version you saw; 409 if it is not the newest."
    )


class UploadSerializer(serializers.ModelSerializer):
    """`state`: received, sealing, sealed, quarantined, failed, discarded. `record` is there once sealed."""

    reason = serializers.CharField(source="reason_text")

    class Meta:
        model = Upload
        fields = [
            "id",
            "state",
            "size",
            "category",
            "chains",
            "care_on",
            "reason_code",
            "reason",
            "record",
            "created_at",
        ]


class GrantWishSerializer(serializers.Serializer):
    registration = serializers.UUIDField(help_text="Your registration (see /me/) whose records you share.")
    practitioner = serializers.UUIDField(required=False, help_text="One person (see /practitioners/).")
    organisation = serializers.UUIDField(required=False, help_text="Or everybody working at an organisation.")
    scope = serializers.ChoiceField(choices=ScopeType.choices)
    scope_value = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="Category or record id."
    )
    purpose = serializers.ChoiceField(choices=Purpose.choices, default=Purpose.TREATMENT)
    expires_at = serializers.DateTimeField()

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if ("practitioner" in values) == ("organisation" in values):
            raise serializers.ValidationError({"practitioner": "Name either a practitioner or an organisation."})
        return values


class GrantSerializer(serializers.ModelSerializer):
    """`state`: pending until its block is final, active, revoking, revoked, expired, failed."""

    registration = serializers.UUIDField(source="patient_id")
    practitioner = serializers.CharField(source="grantee_membership.user.name", default=None, allow_null=True)
    practitioner_id = serializers.UUIDField(source="grantee_membership_id", allow_null=True)
    organisation = serializers.CharField(source="grantee_organisation.name")
    organisation_id = serializers.UUIDField(source="grantee_organisation_id")
    scope = serializers.CharField(source="scope_type")
    statement = serializers.SerializerMethodField()
    digest = serializers.SerializerMethodField(help_text="What stands on MEDchain, and all that stands there.")

    class Meta:
        model = AccessGrant
        fields = [
            "id", "registration", "practitioner", "practitioner_id", "organisation", "organisation_id", "scope",
            "scope_value", "purpose", "not_before", "expires_at", "state", "statement", "digest", "created_at",
            "active_at", "revoked_at",
        ]  # fmt: skip

    def get_statement(self, grant: AccessGrant) -> str:
        return grants.grant_statement(grant)

    def get_digest(self, grant: AccessGrant) -> str:
        return "0x" + bytes(grant.digest).hex()
