"""For tests that sign for a contract without a chain."""

import json

import pytest


@pytest.fixture
def recorded_contracts(settings, tmp_path):
    """Deployment files as after `chain_deploy`: enough to sign for the contracts, not to call them."""
    settings.CHAIN = {**settings.CHAIN, "deployments_dir": tmp_path}
    names = ("Registry", "AnchorLog", "AccessLog", "Consents", "RecordStore")
    for number, (name, chain) in enumerate(settings.CHAIN["chains"].items()):
        contracts = {
            contract: {
                "address": "0x" + bytes([number + 1, place + 1] * 10).hex(),
                "block_number": 1,
                "tx_hash": "0x" + "11" * 32,
                "code_hash": "0x" + "22" * 32,
                "source_hash": "0x" + "33" * 32,
                "version": 1,
                "compiler": {"version": "0.8.37"},
            }
            for place, contract in enumerate(names)
        }
        record = {
            "chain": name,
            "chain_id": chain["chain_id"],
            "genesis_hash": "0x" + "44" * 32,
            "deployer": "0x" + "55" * 20,
            "contracts": contracts,
        }
        (tmp_path / f"{chain['chain_id']}.json").write_text(json.dumps(record))
