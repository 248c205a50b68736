"""What the API says about people, organisations, tokens and the log. Only declared keys leave or enter."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hospitals.models import AccessToken, AuditEntry, Membership, Organisation, Patient
from hospitals.types import TOKEN_SCOPES


class OrganisationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Organisation
        fields = ["id", "slug", "name", "kind", "status", "website"]


class PractitionerSerializer(serializers.ModelSerializer):
    """A public entry: who may be named as the one to share with."""

    name = serializers.CharField(source="user.name")
    organisation = serializers.CharField(source="hospital.name")
    organisation_id = serializers.UUIDField(source="hospital.id")

    class Meta:
        model = Membership
        fields = ["id", "name", "title", "role", "organisation", "organisation_id"]


class RoleSerializer(serializers.ModelSerializer):
    slug = serializers.CharField(source="hospital.slug")
    organisation = serializers.CharField(source="hospital.name")

    class Meta:
        model = Membership
        fields = ["id", "slug", "organisation", "role", "status"]


class RegistrationSerializer(serializers.ModelSerializer):
    hospital = serializers.CharField(source="hospital.name")
    hospital_id = serializers.UUIDField(source="hospital.id")

    class Meta:
        model = Patient
        fields = ["id", "hospital", "hospital_id", "mrn", "status"]


class MeSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    roles = RoleSerializer(many=True)
    registrations = RegistrationSerializer(many=True)


class PatientSerializer(serializers.ModelSerializer):
    """Administrative data, for staff of the patient's own hospital."""

    class Meta:
        model = Patient
        fields = ["id", "mrn", "given_name", "family_name", "birth_date", "sex", "status", "registered_at"]


class TokenSerializer(serializers.ModelSerializer):
    organisation = serializers.CharField(source="membership.hospital.name", default=None, allow_null=True)

    class Meta:
        model = AccessToken
        fields = ["id", "name", "prefix", "scopes", "organisation", "created_at", "expires_at", "last_used_at"]


class TokenMadeSerializer(TokenSerializer):
    token = serializers.SerializerMethodField(help_text="Shown this once.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]

    def get_token(self, row: AccessToken) -> str:
        return self.context["raw"]


class TokenWishSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=list(TOKEN_SCOPES.items())), min_length=1)
    days = serializers.IntegerField(min_value=1, required=False)
    organisation = serializers.SlugField(
        required=False, help_text="The organisation whose role the token acts in; without it you act as a patient."
    )


class LogActorSerializer(serializers.Serializer):
    name = serializers.CharField()
    role = serializers.CharField()
    organisation = serializers.CharField(allow_null=True)
    is_you = serializers.BooleanField()


class LogEntrySerializer(serializers.ModelSerializer):
    """One act. `number` counts the patient's own log from 1, without gaps."""

    number = serializers.IntegerField(source="patient_seq", allow_null=True)
    actor = serializers.SerializerMethodField()
    hospital = serializers.CharField(source="hospital.name")
    version = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = [
            "id", "number", "at", "actor", "hospital", "action", "purpose", "basis", "channel", "is_refused",
            "target_type", "target_id", "version",
        ]  # fmt: skip

    @extend_schema_field(LogActorSerializer)
    def get_actor(self, entry: AuditEntry) -> dict[str, Any]:
        membership = entry.actor_membership
        return {
            "name": entry.actor_user.name if entry.actor_user else "The portal",
            "role": entry.actor_role,
            "organisation": membership.hospital.name if membership else None,
            "is_you": entry.actor_user_id is not None and entry.actor_user_id == self.context["request"].user.pk,
        }

    def get_version(self, entry: AuditEntry) -> int | None:
        return entry.detail.get("version")


class HospitalLogEntrySerializer(LogEntrySerializer):
    """For the hospital's privacy officer: also whose data it was."""

    number = serializers.IntegerField(source="seq")
    patient_mrn = serializers.CharField(source="patient.mrn", default=None, allow_null=True)

    class Meta(LogEntrySerializer.Meta):
        fields = [*LogEntrySerializer.Meta.fields, "patient_mrn"]


class CompletenessSerializer(serializers.Serializer):
    """The patient's "1 to n, none missing"."""

    registration = serializers.UUIDField()
    hospital = serializers.CharField()
    count = serializers.IntegerField()
    is_complete = serializers.BooleanField()
    first_missing = serializers.IntegerField(allow_null=True)
    anchored_count = serializers.IntegerField()
    anchored_to_block = serializers.IntegerField(allow_null=True)
    counted = serializers.IntegerField(source="sealed.count", default=None, allow_null=True)
    counted_in_block = serializers.IntegerField(source="sealed.block_number", default=None, allow_null=True)
