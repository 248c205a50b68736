"""Writes of this app: one function, one transaction, one log entry.

A refusal inside a larger transaction undoes only its own step, so these keep their savepoints; the log does not: an
entry that fails takes the whole act with it.
"""

from hospitals.services.accounts import (
    activation_create,
    activation_redeem,
    sessions_end,
    token_create,
    token_hash,
    token_revoke,
    user_create,
)
from hospitals.services.keys import organisation_keys_rotate
from hospitals.services.organisations import (
    evidence_open,
    organisation_admit,
    organisation_apply,
    organisation_expel,
    organisation_refuse,
    organisation_reinstate,
    organisation_settings_update,
    organisation_suspend,
    regulator_bootstrap,
    regulator_founded,
)
from hospitals.services.patients import (
    patient_claim_confirm,
    patient_claim_create,
    patient_claim_refuse,
    patient_link_accept,
    patient_register,
)
from hospitals.services.releases import (
    officer_add,
    officer_standing,
    release_approve,
    release_cancel,
    release_execute,
    release_propose,
)
from hospitals.services.staff import staff_end, staff_register

__all__ = [
    "activation_create",
    "activation_redeem",
    "evidence_open",
    "officer_add",
    "officer_standing",
    "organisation_admit",
    "organisation_apply",
    "organisation_expel",
    "organisation_keys_rotate",
    "organisation_refuse",
    "organisation_reinstate",
    "organisation_settings_update",
    "organisation_suspend",
    "patient_claim_confirm",
    "patient_claim_create",
    "patient_claim_refuse",
    "patient_link_accept",
    "patient_register",
    "regulator_bootstrap",
    "regulator_founded",
    "release_approve",
    "release_cancel",
    "release_execute",
    "release_propose",
    "sessions_end",
    "staff_end",
    "staff_register",
    "token_create",
    "token_hash",
    "token_revoke",
    "user_create",
]
